package bench

import "testing"

// The 64 connections that fill the server would take 500 bytes for each of so few requests.
func TestBytesOfARequestAreWithoutConnections(t *testing.T) {
	s := suite(t)
	for _, side := range []string{"original", "pendingq"} {
		used, err := s.FillRedis(t.Context(), side, 5000, 500)
		if err != nil {
			t.Fatal(err)
		}
		if used < 200 || used > 700 {
			t.Errorf("a request of %s takes %.0f bytes in Redis, want 200 to 700", side, used)
		}
	}
}
