// Package redisurl reads the Redis URLs that programs are given. Its errors never quote a URL, nor
// a part of it: where a password ends is uncertain if the URL is wrong.
package redisurl

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// Parse returns the options of a client that keeps the deadlines of contexts.
func Parse(text string) (*redis.Options, error) {
	opts, err := redis.ParseURL(text)
	if err != nil {
		return nil, explain(text)
	}
	opts.ContextTimeoutEnabled = true
	return opts, nil
}

// ParseCluster returns the options of a Cluster's client that keeps the deadlines of contexts.
func ParseCluster(text string) (*redis.ClusterOptions, error) {
	opts, err := redis.ParseClusterURL(text)
	if err != nil {
		return nil, explain(text)
	}
	opts.ContextTimeoutEnabled = true
	return opts, nil
}

// explain says what is wrong with a URL. It does not wrap the cause, which quotes the URL.
func explain(text string) error {
	why := "its database or one of its options is invalid"
	if u, err := url.Parse(text); err != nil {
		why = "it is no URL"
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
