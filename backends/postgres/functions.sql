-- The functions of the operations, and what they share. See schema.sql for the tables, and for the
-- words in braces, which are replaced.

-- Plans. PostgreSQL keeps the plans of a session, so a plan that was made while the table was small
-- must stay right when it is large. Rare functions turn sequential scans off, which costs 10 us a
-- call. The statements of each lifecycle do without: see the row on the 16th page.
-- Statements for one request say live::int = 1, which request_live cannot serve. With "live" the
-- planner may choose that index, which it believes to be small, instead of the primary key.

-- Locks. An operation locks a partition first, then an id, and reads the clock once it holds both.
-- So the order of the clock is the order of the operations. Claims, has_pending and creates with a
-- limit lock their partition exclusively. Other operations on single requests share it, so their
-- commits reach the disk together. All locks end with the transaction.
-- Snapshots. The functions are VOLATILE, and run under READ COMMITTED. So each of their statements
-- has a new snapshot. It is taken after the locks, and contains every change of the transactions
-- that held them before.
-- Callers' transactions. Creators of one id take a third lock, before the partition's. A caller's
-- transaction may hold it for long (InTx), but takes its partition only at its commit, after its
-- deferred constraints and triggers. So an operation that holds a partition or an id never waits
-- for an open transaction of a caller, except as InTx says.
-- Lock functions. Each is a single expression, so the planner inlines it. pg_advisory_xact_lock
-- returns void, which is not NULL. So the CASE takes its locks in order, and then reads the clock.
CREATE FUNCTION {s}.lock_request(part int, id text) RETURNS timestamptz LANGUAGE sql AS $$
  SELECT CASE WHEN pg_advisory_xact_lock_shared({key}, part) IS NULL -- mutation: change-part
    OR pg_advisory_xact_lock(hashtextextended(id, {key})) IS NULL -- mutation: change-id
    THEN NULL ELSE clock_timestamp() END -- mutation: change-clock
$$;

CREATE FUNCTION {s}.lock_to_read(part int, id text) RETURNS timestamptz LANGUAGE sql AS $$
  SELECT CASE WHEN pg_advisory_xact_lock_shared({key}, part) IS NULL -- mutation: read-part
    OR pg_advisory_xact_lock_shared(hashtextextended(id, {key})) IS NULL -- mutation: read-id
    THEN NULL ELSE clock_timestamp() END -- mutation: read-clock
$$;

CREATE FUNCTION {s}.lock_mailbox(part int) RETURNS timestamptz LANGUAGE sql AS $$
  -- mutation: mailbox-part, mailbox-clock
  SELECT CASE WHEN pg_advisory_xact_lock({key}, part) IS NULL THEN NULL ELSE clock_timestamp() END
$$;

CREATE FUNCTION {s}.lock_to_add(part int, alone boolean) RETURNS timestamptz LANGUAGE sql AS $$
  SELECT CASE WHEN alone AND pg_advisory_xact_lock({key}, part) IS NULL -- mutation: add-alone
    OR NOT alone AND pg_advisory_xact_lock_shared({key}, part) IS NULL -- mutation: add-part
    THEN NULL ELSE clock_timestamp() END -- mutation: add-clock
$$;

CREATE FUNCTION {s}.get_request(part int, of text, key text) RETURNS SETOF {s}.answer
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  t timestamptz := {s}.lock_to_read(part, key); -- mutation: get-lock
BEGIN
  RETURN QUERY SELECT 'ok', t, {record} FROM {s}.request q
    WHERE q.store = of AND q.id = key AND q.expires >= t; -- mutation: get-expired
END $$;

CREATE FUNCTION {s}.has_pending(part int, of text, box bytea) RETURNS boolean
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  t timestamptz := {s}.lock_mailbox(part); -- mutation: pending-lock
BEGIN
  RETURN EXISTS (SELECT FROM {s}.request q
    -- mutation: pending-ended, pending-over
    WHERE q.mailbox = box AND q.store = of AND q.live AND q.rank >= t AND q.last_deadline >= t
      AND (q.status = 'pending' OR q.deadline < t)); -- mutation: pending-running, pending-lease
END $$;

-- claim_requests claims up to limits[i] requests of stores[i], the longest claimable first. It
-- locks its partition exclusively until the commit. So a second claim of the mailbox waits for that
-- commit, and its statements then see the changes of the first claim. A request is claimable if it
-- is pending, or if its lease has expired (deadline < t) and another attempt is left (last_deadline
-- >= t).
-- The first statement finds the first live request. It is the only one for a mailbox without live
-- requests. The memo is written before the first update. A repeat returns one row whose id is NULL,
-- and the caller asks claimed_requests. The answer has no columns that the caller can compute.
CREATE FUNCTION {s}.claim_requests(part int, claim_id text, box bytea, stores text[], limits int[],
  attempts int[], waits interval[], runs interval[], keeps interval[])
RETURNS SETOF {s}.claimed LANGUAGE plpgsql AS $$
DECLARE
  t timestamptz := {s}.lock_mailbox(part); -- mutation: claim-lock
  first text; -- the id of the first live request, or NULL if it cannot be claimed
  first_store text;
  picked text[];
  key text;
  ends timestamptz;
  last timestamptz;
  taken boolean := false; -- the memo is written
  again {s}.claimed; -- a row of NULLs
BEGIN
  -- The order keeps the planner from scanning the table for any row of a busy mailbox.
  SELECT q.store, CASE WHEN q.rank >= t AND q.last_deadline >= t -- mutation: first-over
      -- mutation: first-running
      AND (q.status = 'pending' OR q.deadline < t) THEN q.id END INTO first_store, first
    FROM {s}.request q WHERE q.mailbox = box AND q.live
    ORDER BY q.mailbox, q.store, q.rank LIMIT 1; -- mutation: first-order
  IF NOT FOUND THEN
    RETURN;
  END IF;
  FOR n IN 1 .. cardinality(stores) LOOP
    -- mutation: first-limit, first-store
    IF limits[n] = 1 AND first IS NOT NULL AND first_store = stores[n] THEN
      picked := ARRAY[first];
    ELSE
      picked := ARRAY(SELECT w.id FROM {s}.request w
        -- mutation: claim-ended
        WHERE w.mailbox = box AND w.store = stores[n] AND w.live AND w.rank >= t
          -- mutation: claim-over, claim-running, claim-lease
          AND w.last_deadline >= t AND (w.status = 'pending' OR w.deadline < t)
        ORDER BY w.rank LIMIT limits[n]); -- mutation: order, limit
      CONTINUE WHEN picked = '{}';
    END IF;
    ends := t + runs[n];
    last := ends + waits[n];
    INSERT INTO {s}.claim AS c VALUES (claim_id, t, ends)
      ON CONFLICT ON CONSTRAINT claim_pkey DO UPDATE SET
        made = excluded.made, -- mutation: memo-made
        until = greatest(c.until, excluded.until) -- mutation: memo-until
        WHERE taken OR c.until < t; -- mutation: memo-kept, memo-again
    IF NOT FOUND THEN
      RETURN NEXT again;
      RETURN;
    END IF;
    taken := true;
    FOREACH key IN ARRAY picked LOOP
      RETURN QUERY UPDATE {s}.request q SET status = 'running', attempt = q.attempt + 1,
          updated = t, started = t, deadline = ends, claim = claim_id,
          -- mutation: last-attempt, attempts
          last_deadline = CASE WHEN q.attempt + 1 < attempts[n] THEN last ELSE ends END,
          -- mutation: rank, rank-kept
          rank = CASE WHEN q.attempt + 1 < attempts[n] THEN last ELSE q.rank END,
          -- mutation: claim-expires
          expires = keeps[n] + CASE WHEN q.attempt + 1 < attempts[n] THEN last ELSE ends END
        WHERE q.store = stores[n] AND q.id = key
        RETURNING n - 1, t, q.id, q.attempt, q.codec, q.payload, q.headers,
          q.created, q.last_deadline;
    END LOOP;
  END LOOP;
  IF NOT taken THEN
    -- The sum keeps the planner from claim_until, which it may believe to be as good as the key.
    -- mutation: memo, memo-expired
    PERFORM FROM {s}.claim c WHERE c.id = claim_id AND c.until + '0' >= t;
    IF FOUND THEN
      RETURN NEXT again;
    END IF;
  END IF;
END $$;

-- claimed_requests returns the requests of a claim that was made before, if they still run under
-- it.
CREATE FUNCTION {s}.claimed_requests(part int, claim_id text, box bytea, stores text[])
RETURNS SETOF {s}.answer LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  t timestamptz := {s}.lock_mailbox(part); -- mutation: repeat-lock
BEGIN
  RETURN QUERY SELECT 'ok', t, {record}
    -- mutation: repeat-made
    FROM {s}.claim c JOIN {s}.request q ON q.claim = c.id AND q.started = c.made
    WHERE c.id = claim_id AND q.mailbox = box AND q.store = ANY (stores) AND q.live
      AND q.status = 'running' AND q.deadline >= t; -- mutation: repeat-expired
END $$;

-- refuse returns why an operation found no live request at its attempt: 'ended' or 'stale' with the
-- record, or no row if the request does not exist.
CREATE FUNCTION {s}.refuse(of text, key text, t timestamptz) RETURNS SETOF {s}.answer
LANGUAGE sql AS $$
  -- mutation: refuse-over, refuse-ended
  SELECT CASE WHEN NOT q.live OR q.last_deadline < t THEN 'ended' ELSE 'stale' END, t, {record}
    -- mutation: refuse-expired
    FROM {s}.request q WHERE q.store = of AND q.id = key AND q.expires >= t
$$;

-- extend_request renews the lease of the attempt speaker, which started at since, or releases it.
-- since is NULL if the worker does not know it. With a new_codec extend_request stores progress.
-- waits is 0 if no attempt is left. After a noted cancel the deadlines stay.
CREATE FUNCTION {s}.extend_request(part int, of text, key text, speaker int, since timestamptz,
  new_codec text, new_payload bytea, lasts interval, waits interval, keeps interval,
  releases boolean)
RETURNS SETOF {s}.answer LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  t timestamptz := {s}.lock_request(part, key); -- mutation: extend-lock
  ends timestamptz := t + lasts;
  last timestamptz := ends + waits;
BEGIN
  RETURN QUERY UPDATE {s}.request q SET updated = t,
      codec = CASE WHEN new_codec = '' THEN q.codec ELSE new_codec END,
      payload = CASE WHEN new_codec = '' THEN q.payload ELSE new_payload END, -- mutation: progress
      -- mutation: extend-grace
      deadline = CASE WHEN q.cancelled_as IS NULL THEN ends ELSE q.deadline END,
      -- mutation: extend-last
      last_deadline = CASE WHEN q.cancelled_as IS NULL THEN last ELSE q.last_deadline END,
      -- mutation: extend-rank, extend-rank-kept
      rank = CASE WHEN q.cancelled_as IS NULL AND waits > '0' THEN last ELSE q.rank END,
      -- mutation: extend-expires
      expires = CASE WHEN q.cancelled_as IS NULL THEN last + keeps ELSE q.expires END
    -- mutation: extend-running
    WHERE q.store = of AND q.id = key AND q.live::int = 1 AND q.status = 'running'
      AND q.attempt = speaker -- mutation: extend-attempt
      AND (since IS NULL OR q.started = since) -- mutation: extend-started
      -- mutation: extend-over, extend-lease, release-lease
      AND q.last_deadline >= t AND (releases OR q.deadline >= t)
    RETURNING 'ok', t, {head};
  IF NOT FOUND THEN
    RETURN QUERY SELECT * FROM {s}.refuse(of, key, t);
  END IF;
END $$;

-- cancel_request ends a request at once, or notes the cancel if a worker holds the request and
-- there is a grace. A second cancel changes nothing.
CREATE FUNCTION {s}.cancel_request(part int, of text, key text, outcome text, reason bytea,
  grace interval, keeps interval)
RETURNS SETOF {s}.answer LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  t timestamptz := {s}.lock_request(part, key); -- mutation: cancel-lock
  r {s}.request;
BEGIN
  SELECT * INTO r FROM {s}.request q
    -- mutation: cancel-ended, cancel-over
    WHERE q.store = of AND q.id = key AND q.live::int = 1 AND q.last_deadline >= t;
  IF NOT FOUND THEN
    RETURN QUERY SELECT * FROM {s}.refuse(of, key, t);
    RETURN;
  -- mutation: cancel-pending, cancel-lease, cancel-now
  ELSIF r.status <> 'running' OR r.deadline < t OR grace = '0' THEN
    RETURN QUERY UPDATE {s}.request q SET live = false, status = outcome, error = reason,
        updated = t, cancelled_as = NULL, cancel_reason = NULL, -- mutation: cancel-note
        expires = t + keeps, sweep = t + keeps
      WHERE q.store = of AND q.id = key RETURNING 'ok', t, {head};
  ELSIF r.cancelled_as IS NULL THEN -- mutation: cancel-again
    RETURN QUERY UPDATE {s}.request q SET cancelled_as = outcome, cancel_reason = reason,
        updated = t, deadline = least(q.deadline, t + grace), -- mutation: grace-longer
        last_deadline = least(q.deadline, t + grace), -- mutation: no-attempt
        expires = least(q.deadline, t + grace) + keeps -- mutation: cancel-expires
      WHERE q.store = of AND q.id = key RETURNING 'ok', t, {head};
  ELSE
    RETURN QUERY SELECT 'ok', t, {head} FROM {s}.request q WHERE q.store = of AND q.id = key;
  END IF;
END $$;

CREATE FUNCTION {s}.end_request(part int, of text, key text, speaker int, since timestamptz,
  outcome text, reason bytea, new_codec text, new_payload bytea, keeps interval)
RETURNS SETOF {s}.answer LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  t timestamptz := {s}.lock_request(part, key); -- mutation: end-lock
BEGIN
  RETURN QUERY UPDATE {s}.request q SET live = false, status = outcome, error = reason,
      codec = new_codec, payload = new_payload, updated = t,
      -- mutation: end-note
      cancelled_as = NULL, cancel_reason = NULL, expires = t + keeps, sweep = t + keeps
    -- mutation: end-ended, end-attempt
    WHERE q.store = of AND q.id = key AND q.live::int = 1 AND q.attempt = speaker
      AND (since IS NULL OR q.started = since) -- mutation: end-started
      AND q.last_deadline >= t -- mutation: end-over
    RETURNING 'ok', t, {head};
  IF NOT FOUND THEN
    RETURN QUERY SELECT * FROM {s}.refuse(of, key, t);
  END IF;
END $$;

-- sweep frees up to most expired records and up to most expired memos. In up to most records that
-- live longer than the column sweep says, it sets that column to expires. It skips locked rows. One
-- session sweeps at a time. It returns how many rows it changed, and when the next row is due.
CREATE FUNCTION {s}.sweep(most int, OUT done int, OUT next timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  t timestamptz := clock_timestamp();
  n int;
BEGIN
  done := 0;
  IF pg_try_advisory_xact_lock({key}, 65536) THEN -- mutation: sweep-alone
    DELETE FROM {s}.request WHERE ctid = ANY (ARRAY(
      -- mutation: sweep-expired
      SELECT q.ctid FROM {s}.request q WHERE q.sweep < t AND q.expires < t
        ORDER BY q.sweep LIMIT most FOR UPDATE SKIP LOCKED)); -- mutation: sweep-most
    GET DIAGNOSTICS done = ROW_COUNT;
    UPDATE {s}.request SET sweep = expires WHERE ctid = ANY (ARRAY( -- mutation: sweep-moves
      SELECT q.ctid FROM {s}.request q WHERE q.sweep < t AND q.expires >= t
        ORDER BY q.sweep LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS n = ROW_COUNT;
    done := done + n;
    DELETE FROM {s}.claim WHERE ctid = ANY (ARRAY(
      SELECT c.ctid FROM {s}.claim c WHERE c.until < t -- mutation: sweep-memo
        ORDER BY c.until LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS n = ROW_COUNT;
    done := done + n;
  END IF;
  -- mutation: sweep-next
  next := least((SELECT min(q.sweep) FROM {s}.request q WHERE q.sweep < 'infinity'),
    (SELECT min(c.until) FROM {s}.claim c WHERE c.until < 'infinity'));
END $$;
