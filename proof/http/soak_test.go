package http_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

var soakTime = flag.Duration("soak", 4*time.Second, "how long TestSoak runs")

const (
	soakDaemons   = 50  // half of them skills/daemon, half Workers over backends/remote
	soakFrontEnds = 100 // half of them ask skills/daemon, the other half ask Workers
	soakSamples   = 40  // at most
	soakRetention = 30 * time.Second
	soakThink     = time.Second // on average, between two requests of a front end
	soakPatience  = 2 * time.Minute

	// The heap may grow by so many bytes in addition to a tenth. Calls in flight and pools make it
	// differ by up to 11 MiB between two moments of a loaded machine. In ten minutes 60,000
	// requests pass, so a leak of 300 bytes a request shows.
	soakLargestStep = 16 << 20
)

var soakPolicy = pending.Policy{Name: "errand", PendingTimeout: time.Minute,
	RunningTimeout: time.Minute, Retention: soakRetention, MaxPayload: 64 << 10}

// soak is one server and its callers. Each call of a handler answers with a new word.
type soak struct {
	*testing.T
	url   string
	words sync.Map // words that a handler answered and no front end has read
	asked atomic.Int64
	said  atomic.Int64
}

// word makes the answer of one call of a handler.
func (s *soak) word() string {
	word := fmt.Sprintf("word-%d.", s.said.Add(1))
	s.words.Store(word, true)
	return word
}

// hears notes the answer of an ended request. It fails the test if another answer had the word.
func (s *soak) hears(answer string) {
	if _, said := s.words.LoadAndDelete(wordIn.FindString(answer)); !said {
		s.Errorf("a request has ended with %q: no word, or the word of another answer", answer)
	}
}

var wordIn = regexp.MustCompile(`word-\d+\.`)

// TestSoak runs daemons and front ends against one server. Each request ends once. From the first
// quarter to the last, memory, goroutines and file descriptors grow by little more than a tenth.
func TestSoak(t *testing.T) {
	s := &soak{T: t}
	s.serve()
	asking, stopAsking := context.WithCancel(t.Context())
	working, stopWork := context.WithCancel(context.Background())
	var frontEnds, daemons sync.WaitGroup
	defer daemons.Wait()
	defer stopWork()
	for i := range soakDaemons / 2 {
		daemons.Go(func() { s.skillsDaemon(working, fmt.Sprint("laptop-", i)) })
		daemons.Go(func() { s.worker(working, fmt.Sprint("device-", i)) })
	}
	for i := range soakFrontEnds / 2 {
		runtime := i % (soakDaemons / 2)
		frontEnds.Go(func() { s.skillsFrontEnd(asking, fmt.Sprint("laptop-", runtime)) })
		frontEnds.Go(func() { s.frontEnd(asking, fmt.Sprint("device-", runtime)) })
	}
	calls.Await(soakPatience, time.Millisecond, func() bool {
		return s.asked.Load() >= 2*soakFrontEnds
	})
	samples := s.samples()
	stopAsking()
	frontEnds.Wait()
	s.check(samples)
}

// serve serves the routes of skillshttp and of remote, with one backend.
func (s *soak) serve() {
	b := memory.New()
	stores, err := skills.New(b, func(p *skills.Policies) {
		p.Lists.Retention, p.Pings.Retention, p.ModelLists.Retention =
			soakRetention, soakRetention, soakRetention
	})
	if err != nil {
		s.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	contract, err := skillshttp.New(skillshttp.Config{Stores: stores, Access: openDoors{},
		Library: shelf{}, Logger: quiet}) // nobody imports
	if err != nil {
		s.Fatal(err)
	}
	anyStore, err := remote.Handler(b, remote.Config{Stores: []pending.Policy{soakPolicy},
		Access: openStore{}, Logger: quiet})
	if err != nil {
		s.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", contract)
	mux.Handle("/pending/", http.StripPrefix("/pending", anyStore))
	server := httptest.NewServer(mux)
	s.Cleanup(server.Close)
	s.url = server.URL
}

// openStore lets each caller with a token do everything, under the name of the token.
type openStore struct{}

func (openStore) Caller(r *http.Request) (string, error) {
	return r.Header.Get("Authorization"), nil
}

func (openStore) Allow(*http.Request, string, remote.Action, string, string) (bool, error) {
	return true, nil
}

// skillsDaemon runs a daemon of skills until ctx ends.
func (s *soak) skillsDaemon(ctx context.Context, id string) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	handlers := daemon.Handlers{
		Ping: func(context.Context) (string, error) { return s.word(), nil },
		List: func(context.Context) (skills.List, error) {
			found := []skills.LocalSkill{{Key: s.word()}}
			return skills.List{Supported: true, Skills: found}, nil
		},
		Models: func(context.Context) (skills.ModelList, error) {
			found := []skills.Model{{ID: s.word()}}
			return skills.ModelList{Supported: true, Models: found}, nil
		},
	}
	d, err := daemon.New(daemon.Config{Server: s.url, RuntimeID: id, Token: id,
		Client: &http.Client{Transport: transport}, Logger: slog.New(slog.DiscardHandler),
		Handlers: handlers})
	if err == nil {
		err = d.Run(ctx)
	}
	if err != nil {
		s.Error(err)
	}
}

// connect opens the store of errands over HTTP.
func (s *soak) connect(name string) (*remote.Client, *pending.PendingStore[string]) {
	client, err := remote.New(s.url+"/pending", &remote.Options{Token: name,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.Error(err)
		return nil, nil
	}
	store, err := pending.New(client, codec.JSON[string](), soakPolicy)
	if err != nil {
		s.Error(err)
	}
	return client, store
}

// worker runs a Worker over HTTP until ctx ends.
func (s *soak) worker(ctx context.Context, id string) {
	client, store := s.connect(id)
	defer client.Close()
	w, err := pending.NewWorker(id, &pending.WorkerOptions{Concurrency: 4},
		pending.Handle(store, func(_ context.Context, c *pending.Claim[string]) error {
			c.Payload = s.word()
			return nil
		}))
	if err == nil {
		err = w.Run(ctx)
	}
	if err != nil {
		s.Error(err)
	}
}

// frontEnd asks a device again and again, and waits for each answer.
func (s *soak) frontEnd(ctx context.Context, device string) {
	client, store := s.connect("front end of " + device)
	defer client.Close()
	for s.next(ctx) {
		r, err := store.Create(s.Context(), device, "a question")
		if err == nil {
			r, err = store.Await(s.Context(), r.ID)
		}
		if err != nil {
			s.Error(err)
			return
		}
		s.hears(string(r.Status) + ": " + r.Payload)
	}
}

// skillsFrontEnd makes requests that the runtime's daemon can answer.
func (s *soak) skillsFrontEnd(ctx context.Context, runtime string) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	send := func(method, path string) string {
		url := s.url + "/api/runtimes/" + runtime + path
		r, err := http.NewRequestWithContext(s.Context(), method, url, nil)
		if err != nil {
			s.Error(err)
			return ""
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			s.Error(err)
			return ""
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			s.Errorf("%s %s: %d %s, %v", method, path, resp.StatusCode, text, err)
		}
		return string(text)
	}
	for i := 0; s.next(ctx); i++ {
		path := []string{"/ping", "/local-skills", "/models"}[i%3]
		answer := send(http.MethodPost, path)
		for asked := parse(answer); !parse(answer).ended() && !s.Failed(); {
			answer = send(http.MethodGet, path+"/"+asked.ID+"?wait=20s")
		}
		s.hears(answer)
	}
}

// next pauses before a front end's next request, and counts the request. It returns false when the
// soak is over.
func (s *soak) next(ctx context.Context) bool {
	select {
	case <-time.After(rand.N(2 * soakThink)):
	case <-ctx.Done():
	}
	if ctx.Err() != nil || s.Failed() {
		return false
	}
	s.asked.Add(1)
	return true
}

// sample is a measurement of the process.
type sample struct{ heap, goroutines, files int }

// samples takes samples while the soak lasts.
func (s *soak) samples() (all []sample) {
	ticker := time.NewTicker(max(*soakTime/soakSamples, 250*time.Millisecond))
	defer ticker.Stop()
	for end := time.Now().Add(*soakTime); time.Now().Before(end) || len(all) < 4; {
		<-ticker.C
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		files, _ := os.ReadDir("/proc/self/fd") // empty on systems without /proc
		all = append(all, sample{int(m.HeapAlloc), runtime.NumGoroutine(), len(files)})
	}
	return all
}

// check compares the first quarter of the samples with the last. It also checks that front ends
// have read each answer of a handler.
func (s *soak) check(all []sample) {
	first, last := least(all[:len(all)/4]), least(all[len(all)-len(all)/4:])
	s.Logf("%d requests in %v; heap %d and %d KiB, goroutines %d and %d, files %d and %d",
		s.asked.Load(), *soakTime, first.heap>>10, last.heap>>10, first.goroutines, last.goroutines,
		first.files, last.files)
	if last.heap > first.heap*11/10+soakLargestStep ||
		last.goroutines > first.goroutines*11/10+50 || last.files > first.files*11/10+50 {
		s.Errorf("from the first quarter to the last, %+v has grown to %+v", first, last)
	}
	var unheard []string
	s.words.Range(func(word, _ any) bool { unheard = append(unheard, word.(string)); return true })
	if s.asked.Load() != s.said.Load() || len(unheard) > 0 {
		s.Errorf("%d requests had %d answers; nobody has read the answers %s", s.asked.Load(),
			s.said.Load(), strings.Join(unheard, " "))
	}
}

// least returns the least of each figure. A heap has garbage, more or less of it by chance. A leak
// raises the least heap as well.
func least(some []sample) sample {
	best := some[0]
	for _, x := range some {
		best = sample{min(best.heap, x.heap), min(best.goroutines, x.goroutines),
			min(best.files, x.files)}
	}
	return best
}
