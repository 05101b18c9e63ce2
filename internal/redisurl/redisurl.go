// Package redisurl parses Redis URLs. Its errors never quote any part of a URL, because the end of
// the password is unknown if the URL is invalid.
package redisurl

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

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

// Client makes a client that observes the deadlines of contexts. It sends no command. The URL also
// says which servers it is for:
//
//	redis://user:password@host:6379/0                       one server
//	redis://host:26379/0?master_name=NAME&addr=other:26379  Sentinels, which name the server
//	redis://host:6379?cluster=true, or ?addr=other:6379     nodes of a Cluster
//
// Addr names the servers, for messages.
func Client(text string) (client redis.UniversalClient, addr string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, "", explain(text)
	}
	query := u.Query()
	cluster := query.Get("cluster") == "true"
	if cluster {
		query.Del("cluster") // it is ours
		u.RawQuery = query.Encode()
		text = u.String()
	}
	switch {
	case query.Has("master_name") && !cluster:
		opts, err := redis.ParseFailoverURL(text)
		if err != nil {
			return nil, "", explain(text)
		}
		opts.ContextTimeoutEnabled = true
		return redis.NewFailoverClient(opts), strings.Join(opts.SentinelAddrs, ", "), nil
	case query.Has("addr") || cluster:
		opts, err := redis.ParseClusterURL(text)
		if err != nil {
			return nil, "", explain(text)
		}
		opts.ContextTimeoutEnabled = true
		return redis.NewClusterClient(opts), strings.Join(opts.Addrs, ", "), nil
	}
	opts, err := Parse(text)
	if err != nil {
		return nil, "", err
	}
	return redis.NewClient(opts), opts.Addr, nil
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
