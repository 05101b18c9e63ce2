// Package redisurl parses Redis URLs. Its errors never quote any part of a URL, because the end of
// the password is unknown if the URL is invalid.
package redisurl

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// Parse returns the options of a client that observes the deadlines of contexts.
func Parse(text string) (*redis.Options, error) {
	opts, err := redis.ParseURL(text)
	if err != nil {
		return nil, explain(text)
	}
	opts.ContextTimeoutEnabled = true
	return opts, nil
}

// ParseCluster returns the options of a Cluster client that observes the deadlines of contexts.
func ParseCluster(text string) (*redis.ClusterOptions, error) {
	opts, err := redis.ParseClusterURL(text)
	if err != nil {
		return nil, explain(text)
	}
	opts.ContextTimeoutEnabled = true
	return opts, nil
}

// explain returns an error that says why a URL is invalid. It does not wrap the cause, which quotes
// the URL.
func explain(text string) error {
	why := "its database or one of its options is invalid"
	if u, err := url.Parse(text); err != nil {
		why = "it is not a URL"
		if errors.As(err, new(url.EscapeError)) {
			why = "it has a % without two hexadecimal digits"
		}
	} else if u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix" {
		why = "it does not begin with redis://, rediss:// or unix://"
	}
	return fmt.Errorf("the Redis URL is invalid: %s; "+
		"write redis://user:password@host:port/database, "+
		"with special characters of the password as %%XX", why)
}
