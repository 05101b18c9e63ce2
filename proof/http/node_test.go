package http_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// node is an API node: handlers, a server, and a backend of its own on the storage that all nodes
// share. It records every call to its backend. The goroutines of a killed node have no further
// effect.
type node struct {
	*service
	number  int
	storage backends.Backend
	hangUp  func() // closes its connections to the storage
	server  *http.Server
	at      listening
	dead    atomic.Bool
}

var errKilled = errors.New("this node has been killed")

// startNode starts the node of this number, or starts it again.
func (s *service) startNode(number int) error {
	n := &node{service: s, number: number}
	n.storage, n.hangUp = s.connect()
	stores, err := skills.New(tapped{n, n.storage.(backends.Waker)})
	if err != nil {
		return err
	}
	handler, err := skillshttp.New(skillshttp.Config{Stores: stores, Access: openDoors{},
		Library: shelf{n},
		Logger:  slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if n.at, err = s.listen(); err != nil {
		return err
	}
	n.server = skillshttp.NewServer("", handler)
	s.nodes[number].Store(n)
	s.serving.Go(func() { _ = n.server.Serve(n.at) })
	return nil
}

// kill ends a node like kill -9, and replaces it two seconds later.
func (n *node) kill() {
	if n.dead.Swap(true) {
		return
	}
	n.killedNodes.Add(1)
	n.server.Close()
	n.hangUp()
	n.serving.Go(func() {
		calls.Pass(n.scaled(2 * time.Second))
		if err := n.startNode(n.number); err != nil {
			n.Errorf("start node %d again: %v", n.number, err)
		}
	})
}

// stop shuts a node down in order.
func (n *node) stop(ctx context.Context) error {
	defer n.hangUp()
	return n.server.Shutdown(ctx)
}

// openDoors allows everyone to make requests, and each daemon to work for its runtime.
type openDoors struct{}

func (openDoors) Requester(*http.Request, string) (skillshttp.Requester, error) {
	return skillshttp.Requester{UserID: "owner", Role: skillshttp.RoleOwner}, nil
}

func (openDoors) Daemon(r *http.Request, runtimeID string) (bool, error) {
	return r.Header.Get("Authorization") == "Bearer "+runtimeID, nil
}

// tapped is a node's backend. It shortens the times of each call, passes the call to the storage
// and records it.
type tapped struct {
	*node
	backends.Waker
}

// observe makes a call and records it.
func (n *node) observe(ctx context.Context, mailbox string, op any) *calls.Call {
	c := &calls.Call{Op: op, Err: errKilled}
	if n.dead.Load() {
		return c
	}
	c.Began = calls.Now()
	disturbed := n.faults.Watch()
	c.Perform(ctx, n.storage)
	c.Was = calls.Now() + 1
	c.Lossy = disturbed()
	if !c.Answered() {
		c.Was, c.Lossy, c.Abandoned = calls.Never, true, true
	}
	n.journal.add(mailbox, c)
	n.faults.Count()
	return c
}

func (t tapped) Create(ctx context.Context, op backends.Create) (backends.Record, error) {
	op.Terms = t.paced(op.Terms)
	t.journal.expect(op)
	c := t.observe(ctx, op.Mailbox, op)
	return c.Rec, c.Err
}

func (t tapped) Get(ctx context.Context, store, id string) (backends.Record, error) {
	terms, mailbox := t.journal.about(store, id)
	c := t.observe(ctx, mailbox, calls.Get{Terms: terms, ID: id})
	if !c.Answered() {
		t.journal.doubt(id)
	}
	return c.Rec, c.Err
}

func (t tapped) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	return t.storage.HasPending(ctx, store, mailbox)
}

func (t tapped) Claim(ctx context.Context, op backends.Claim) ([]backends.Claimed, error) {
	op.From = slices.Clone(op.From)
	for i := range op.From {
		op.From[i].Terms = t.paced(op.From[i].Terms)
	}
	c := t.observe(ctx, op.Mailbox, op)
	return c.Claimed, c.Err
}

func (t tapped) Extend(ctx context.Context, op backends.Extend) (backends.Lease, error) {
	op.Terms = t.paced(op.Terms)
	_, mailbox := t.journal.about(op.Store, op.ID)
	c := t.observe(ctx, mailbox, op)
	return c.Lease, c.Err
}

func (t tapped) Cancel(ctx context.Context, op backends.Cancel) (backends.Record, error) {
	op.Terms, op.Grace = t.paced(op.Terms), t.scaled(op.Grace)
	_, mailbox := t.journal.about(op.Store, op.ID)
	c := t.observe(ctx, mailbox, op)
	return c.Rec, c.Err
}

func (t tapped) End(ctx context.Context, op backends.End) (backends.Record, error) {
	op.Terms = t.paced(op.Terms)
	_, mailbox := t.journal.about(op.Store, op.ID)
	c := t.observe(ctx, mailbox, op)
	return c.Rec, c.Err
}

// journal has the nodes' calls to their storage, by mailbox.
type journal struct {
	mu      sync.Mutex
	creates []backends.Create
	asked   map[string]backends.Create // by id
	claims  map[string]bool            // ids of claims that have been made
	unsure  map[string]bool            // ids of requests whose state a node could not read
	calls   map[string][]*calls.Call   // by mailbox; "" for calls about unknown requests
}

func newJournal() *journal {
	return &journal{asked: map[string]backends.Create{}, claims: map[string]bool{},
		unsure: map[string]bool{},
		calls:  map[string][]*calls.Call{}}
}

// expect notes a request that is about to be created.
func (j *journal) expect(op backends.Create) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.creates = append(j.creates, op)
	j.asked[op.ID] = op
}

// all returns every request that a node was asked to store.
func (j *journal) all() []backends.Create {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.creates)
}

// about returns the terms and the mailbox of a request. The mailbox is "" if no node created it.
func (j *journal) about(store, id string) (backends.Terms, string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	op, known := j.asked[id]
	if !known || op.Store != store {
		return backends.Terms{Store: store}, ""
	}
	return op.Terms, op.Mailbox
}

// doubt notes that a node could not read the state of a request.
func (j *journal) doubt(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsure[id] = true
}

func (j *journal) add(mailbox string, c *calls.Call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if op, isClaim := c.Op.(backends.Claim); isClaim {
		c.Repeat = j.claims[op.ID]
		j.claims[op.ID] = true
	}
	j.calls[mailbox] = append(j.calls[mailbox], c)
}

// shelf is a node's access to the library. Some saves meet one of three faults: the library is
// away, the node is killed after the save and before the import completes, or the save takes so
// long that the import times out.
type shelf struct{ *node }

var errAway = errors.New("the library is away")

func (s shelf) Save(_ context.Context, save skillshttp.Save) (skills.Skill, error) {
	switch n := s.saves.Add(1); {
	case s.dead.Load():
		return skills.Skill{}, errKilled
	case n%6 == 1:
		return skills.Skill{}, errAway
	}
	saved, number, err := s.library.save(save)
	switch {
	case number%8 == 5:
		s.slowSaves.Add(1)
		calls.Pass(s.scaled(skills.ImportPolicy().RunningTimeout) * 4 / 3)
	case number%8 == 3:
		s.kill()
		return skills.Skill{}, errKilled
	}
	return saved, err
}

func (s shelf) TakeBack(_ context.Context, requestID string) error {
	if s.dead.Load() {
		s.journal.doubt(requestID)
		return errKilled
	}
	s.library.takeBack(requestID)
	return nil
}

// library keeps imported skills. It outlives the nodes.
type library struct {
	mu        sync.Mutex
	byRequest map[string]skills.Skill
	byName    map[string]string // the id of the request that saved the skill
	saves     int
}

func newLibrary() *library {
	return &library{byRequest: map[string]skills.Skill{}, byName: map[string]string{}}
}

// save keeps a skill. Number counts the saved skills. It is 0 if this call has saved none.
func (l *library) save(s skillshttp.Save) (saved skills.Skill, number int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if saved, ok := l.byRequest[s.RequestID]; ok {
		return saved, 0, nil
	}
	if other, taken := l.byName[s.Name]; taken {
		conflict := skills.Conflict{ExistingSkillID: l.byRequest[other].ID}
		return saved, 0, &skillshttp.NameTakenError{Conflict: conflict}
	}
	l.saves++
	saved = skills.Skill{ID: fmt.Sprintf("skill-%d", l.saves), Name: s.Name,
		Content: s.Bundle.Content, CreatedBy: s.CreatorID}
	l.byRequest[s.RequestID], l.byName[s.Name] = saved, s.RequestID
	return saved, l.saves, nil
}

func (l *library) takeBack(requestID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byName, l.byRequest[requestID].Name)
	delete(l.byRequest, requestID)
}

func (l *library) holds(requestID string) (skills.Skill, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	saved, held := l.byRequest[requestID]
	return saved, held
}
