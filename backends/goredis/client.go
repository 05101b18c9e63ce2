package goredis

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// checkClient returns why a client cannot work. It subscribes to no channel, as a link does when it
// begins. That sends nothing, and panics for a nil pointer, a zero client, a Ring, and a wrapper
// around one of these.
func checkClient(client redis.UniversalClient) (err error) {
	switch client.(type) {
	case nil:
		return errors.New("goredis: the client is nil")
	case *redis.Ring:
		return errors.New("goredis: a redis.Ring cannot be the client: the keys of one script, " +
			"and its wake-ups, may be on different shards; use a Client or a ClusterClient")
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("goredis: the client (%T) cannot subscribe: it is nil, "+
				"is a redis.Ring, or was not made by its constructor: %v", client, cause)
		}
	}()
	return client.Subscribe(context.Background()).Close()
}
