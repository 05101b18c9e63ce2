package goredis_test

import "github.com/redis/go-redis/v9"

// passing is a hook that changes nothing. Other hooks embed it, and have only the methods they
// need.
type passing struct{}

func (passing) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (passing) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (passing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
