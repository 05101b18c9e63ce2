package goredis

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// checkClient returns why a client cannot work. It subscribes to no channel, as a link does when it
// begins. That sends nothing, and panics for a client that cannot work.
func checkClient(client redis.UniversalClient) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("goredis: the client (%T) cannot subscribe: it is nil, was not made by its "+
				"constructor, or is a redis.Ring, whose shards part the keys of a script: %v", client, cause)
		}
	}()
	return client.Subscribe(context.Background()).Close()
}
