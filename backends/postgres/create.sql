-- The functions that create a request. See schema.sql for the words in braces, and functions.sql
-- for the locks.

-- refusal returns why a new request is refused: 'busy' and the id of a live request, or 'full'. For
-- a request that is not refused, code is NULL. For exclusive it reads the mailbox's requests that
-- have timed out, until the sweep has freed them: no index has last_deadline.
CREATE FUNCTION {s}.refusal(of text, box bytea, id text, exclusive boolean, most int, t timestamptz,
  OUT code text, OUT busy text)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  IF exclusive THEN -- mutation: exclusive
    SELECT q.id INTO busy FROM {s}.request q
      -- mutation: exclusive-ended, exclusive-expired
      WHERE q.mailbox = box AND q.store = of AND q.live AND q.last_deadline >= t
        AND q.id <> refusal.id LIMIT 1; -- mutation: own-exclusive
    IF FOUND THEN
      code := 'busy';
      RETURN;
    END IF;
  END IF;
  IF most > 0 AND most <= (SELECT count(*) FROM ( -- mutation: cap, uncapped
      SELECT FROM {s}.request q
        -- mutation: cap-ended, cap-over
        WHERE q.mailbox = box AND q.store = of AND q.live AND q.rank >= t AND q.last_deadline >= t
          -- mutation: cap-running, cap-lease, own-cap
          AND (q.status = 'pending' OR q.deadline < t) AND q.id <> refusal.id
        LIMIT most) waiting) THEN
    code := 'full';
  END IF;
END $$;

-- create_request stores a new request and returns 'new'. If the id exists, it returns 'old' with
-- the record. Creators of one id take turns. If the creator has its own transaction, topic is not
-- NULL, and the partition is locked at the commit: see arrive. The IF takes a lock and does nothing
-- else, like PERFORM at half the cost. The loop ends once no other record has the id: it deletes an
-- expired record and inserts again. With a limit, the whole create happens at t. So the limit holds
-- even if the old record expires meanwhile, and is perhaps swept.
CREATE FUNCTION {s}.create_request(part int, of text, key text, box bytea, new_codec text,
  new_payload bytea, new_headers bytea, waits interval, keeps interval, exclusive boolean, most int,
  topic text)
RETURNS SETOF {s}.answer LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  t timestamptz;
  a {s}.answer;
  refused record;
  checked boolean := exclusive OR most > 0;
BEGIN
  -- mutation: isolation
  IF checked AND current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE 'a store that is Exclusive or has MaxPending needs a transaction that is READ COMMITTED';
  END IF;
  IF pg_advisory_xact_lock(hashtextextended(key, {key} + 1)) IS NULL THEN -- mutation: creators
  END IF;
  IF topic IS NULL THEN
    t := {s}.lock_to_add(part, checked); -- mutation: alone
  ELSE
    t := clock_timestamp();
  END IF;
  IF checked THEN
    RETURN QUERY SELECT 'old', greatest(t, q.updated), {record} FROM {s}.request q
      WHERE q.store = of AND q.id = key AND q.expires >= t; -- mutation: repeat-expired
    IF FOUND THEN -- mutation: repeat
      RETURN;
    END IF;
    SELECT * INTO refused FROM {s}.refusal(of, box, key, exclusive, most, t);
    IF refused.code IS NOT NULL THEN
      a.code := refused.code;
      a.now := t;
      a.id := refused.busy;
      RETURN NEXT a;
      RETURN;
    END IF;
  END IF;
  LOOP
    INSERT INTO {s}.request (store, id, mailbox, live, status, attempt, codec, payload, headers,
        created, updated, deadline, last_deadline, rank, expires, sweep)
      VALUES (of, key, box, true, 'pending', 0, new_codec, new_payload, new_headers,
        t, t, t + waits, t + waits, t + waits, t + waits + keeps, t + waits + keeps)
      ON CONFLICT DO NOTHING;
    IF FOUND THEN
      IF topic IS NOT NULL THEN
        -- mutation: arrives-again
        INSERT INTO {s}.arrival VALUES (of, key, exclusive, most, topic) ON CONFLICT DO NOTHING;
      END IF;
      a.code := 'new';
      a.now := t;
      RETURN NEXT a;
      RETURN;
    END IF;
    IF topic IS NULL AND NOT checked THEN -- mutation: repeat-clock
      t := {s}.lock_to_read(part, key); -- mutation: repeat-lock
    END IF;
    RETURN QUERY SELECT 'old', greatest(t, q.updated), {record} FROM {s}.request q
      WHERE q.store = of AND q.id = key AND q.expires >= t; -- mutation: expired
    IF FOUND THEN
      RETURN;
    END IF;
    DELETE FROM {s}.request q WHERE q.store = of AND q.id = key AND q.expires < t;
  END LOOP;
END $$;

-- arrive runs at the commit of a caller's transaction, for each row of arrival. It checks the
-- store's limits again, and moves all times of the request from its create to the commit. So the
-- request begins with the commit, however long the transaction was open. The first call takes the
-- locks of all rows, sorted by partition, each as strong as its strongest row needs. So two
-- commits, or a commit and a ClaimMany, never wait for each other. Arrival has only rows of this
-- transaction: others delete theirs before they commit.
-- Constraints and triggers that the caller has deferred may wait for another open transaction. So
-- arrive comes after them: the insert of the row only queues arrive once more, behind all others.
-- The difference of two times counts in days. In some time zones a day lasts 23 to 25 hours, in UTC
-- always 24. The sequential scan of arrival counts as expensive, so jit would compile it each time,
-- which takes 50 ms.
CREATE FUNCTION {s}.arrive() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET jit = off SET timezone = 'UTC' -- mutation: arrive-jit, arrive-zone
AS $$
DECLARE
  part int;
  alone boolean;
  t timestamptz;
  refused record;
BEGIN
  IF TG_OP = 'INSERT' THEN -- mutation: arrive-last-of-all
    UPDATE {s}.arrival a SET topic = a.topic WHERE a.store = NEW.store AND a.id = NEW.id;
    RETURN NULL;
  END IF;
  FOR part, alone IN SELECT ('x' || left(a.id, 4))::bit(16)::int,
      -- mutation: arrive-strongest
      bool_or(a.exclusive OR a.most > 0) FROM {s}.arrival a GROUP BY 1 ORDER BY 1 LOOP
    t := {s}.lock_to_add(part, alone); -- mutation: arrive-lock
  END LOOP;
  IF NEW.exclusive OR NEW.most > 0 THEN -- mutation: arrive-check
    SELECT f.* INTO refused FROM {s}.request q, {s}.refusal(q.store, q.mailbox, q.id,
        NEW.exclusive, NEW.most, t) f
      WHERE q.store = NEW.store AND q.id = NEW.id;
    IF refused.code = 'busy' THEN
      RAISE 'mailbox already has a live request: %', refused.busy USING ERRCODE = 'PQ001';
    ELSIF refused.code = 'full' THEN
      RAISE 'mailbox is full' USING ERRCODE = 'PQ002';
    END IF;
  END IF;
  -- mutation: arrive-created, arrive-deadline
  UPDATE {s}.request q SET created = t, updated = t, deadline = t + (q.deadline - q.created),
      -- mutation: arrive-last, arrive-rank
      last_deadline = t + (q.deadline - q.created), rank = t + (q.deadline - q.created),
      -- mutation: arrive-expires
      expires = t + (q.expires - q.created), sweep = t + (q.expires - q.created)
    WHERE q.store = NEW.store AND q.id = NEW.id;
  DELETE FROM {s}.arrival a WHERE a.store = NEW.store AND a.id = NEW.id; -- mutation: arrived
  IF NEW.topic <> '' THEN
    PERFORM pg_notify('{channel}', NEW.topic); -- mutation: wake
  END IF;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER request_arrives AFTER INSERT OR UPDATE ON {s}.arrival
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {s}.arrive();
