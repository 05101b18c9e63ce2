package bench

import "testing"

// The 64 connections that fill the server take over a kilobyte for each of so few requests.
func TestBytesOfARequestAreWithoutConnections(t *testing.T) {
	s := suite(t)
	for _, side := range []string{"original", "pendingq"} {
		used, err := s.FillRedis(t.Context(), side, 1000, 100)
		if err != nil {
			t.Fatal(err)
		}
		if used < 200 || used > 800 {
			t.Errorf("a request of %s takes %.0f bytes in Redis, want 200 to 800", side, used)
		}
	}
}
