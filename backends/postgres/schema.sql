-- Version 1 of the schema. The function "named" in postgres.go replaces these words in braces, even
-- in comments. So comments do not use them:
--   s        the schema's name
--   key      a number that separates the advisory locks of this schema from those of others
--   channel  the channel for NOTIFY
--   record   the columns of request q in an answer
--   head     the same with NULL as the payload
--   get, end the first columns of record, for answers to Get and End
-- Every name is qualified, so the search_path does not matter.

CREATE TABLE {s}.request (
  -- First come the columns of a fixed size, which are read faster there. Then come the others that
  -- a claim changes, and then the rest. So the end of a row stays as it is, and a claim does not
  -- write it to the log.
  attempt int NOT NULL,
  live boolean NOT NULL,               -- no operation has ended it; it stays true after a timeout
  created timestamptz NOT NULL,
  updated timestamptz NOT NULL,
  deadline timestamptz NOT NULL,
  last_deadline timestamptz NOT NULL,
  expires timestamptz NOT NULL,

  -- The indexes have these two columns instead of last_deadline and expires, which claims and
  -- extends change. So these updates are heap-only, unless another attempt may follow.
  -- rank orders claims: the lowest rank is the request that has been claimable for longest. It
  -- equals last_deadline while the request is pending, and while another attempt may follow.
  -- sweep is when the sweep looks at the record. If the record has not expired by then, the sweep
  -- sets this column to expires. A change may have made expires earlier than sweep.
  rank timestamptz NOT NULL,
  sweep timestamptz NOT NULL,

  started timestamptz,
  status text COLLATE "C" NOT NULL,
  claim text COLLATE "C",              -- the id of the latest claim
  store text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  mailbox bytea NOT NULL,              -- may contain NUL, as may error, cancel_reason and headers
  cancelled_as text COLLATE "C",
  cancel_reason bytea,
  headers bytea,                       -- JSON
  codec text COLLATE "C" NOT NULL,
  error bytea NOT NULL DEFAULT '',
  payload bytea NOT NULL,
  PRIMARY KEY (id, store)              -- the id almost always decides a comparison
) WITH (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
  autovacuum_analyze_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 1,
  toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 500,
  toast.autovacuum_vacuum_cost_delay = 1
);
ALTER TABLE {s}.request ALTER payload SET STORAGE EXTERNAL;
CREATE INDEX request_live ON {s}.request (mailbox, store, rank) WHERE live;
CREATE INDEX request_sweep ON {s}.request (sweep);

-- The planner scans a table of a few pages as a whole, and a prepared plan may outlive that size.
-- So one row that never expires stays on the 16th page. It belongs to no store. Until
-- autovacuum makes statistics, those of a few rows say that ids and mailboxes differ. Without them
-- the planner expects several rows of one id in a large table. It then reads with a bitmap, which
-- costs more.
INSERT INTO {s}.request (store, id, mailbox, live, status, attempt, codec, payload, created,
    updated, deadline, last_deadline, expires, rank, sweep)
  SELECT '', n::text, n::text::bytea, false, 'completed', 0, '',
    convert_to(repeat(' ', 1900), 'UTF8'), now(), now(), now(), now(), 'infinity', now(), 'infinity'
  FROM generate_series(1, 32) n;
ANALYZE {s}.request;
DELETE FROM {s}.request WHERE id <> '32';

-- The memos: each claim that has taken requests. Its requests are those whose columns claim and
-- started equal id and made.
CREATE TABLE {s}.claim (
  id text COLLATE "C" PRIMARY KEY,
  made timestamptz NOT NULL,
  until timestamptz NOT NULL           -- the latest deadline that it set
) WITH (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
  autovacuum_vacuum_cost_delay = 1
);
CREATE INDEX claim_until ON {s}.claim (until);

-- One row stays on the 16th page of this table too.
INSERT INTO {s}.claim SELECT lpad(n::text, 1900), now(), 'infinity' FROM generate_series(1, 64) n;
DELETE FROM {s}.claim WHERE id <> lpad('64', 1900);

-- A request that its creator's own transaction adds, until the commit: see arrive.
CREATE TABLE {s}.arrival (
  store text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  exclusive boolean NOT NULL,
  most int NOT NULL,
  topic text NOT NULL,                 -- the topic to notify, or ''
  PRIMARY KEY (id, store)
);

-- A request that a claim takes, or a row of NULLs. A function that returns a type starts sooner
-- than a function that returns a TABLE of the same columns.
CREATE TYPE {s}.claimed AS (
  place int,                           -- of the request's store in the claim
  now timestamptz,
  id text, attempt int, codec text, payload bytea, headers bytea, created timestamptz,
  last_deadline timestamptz
);

-- A row of an answer: code, now, and the columns of record. scanAnswer reads them in this order.
CREATE TYPE {s}.answer AS (
  code text, now timestamptz,
  mailbox bytea, attempt int, headers bytea,
  created timestamptz, updated timestamptz, started timestamptz, deadline timestamptz,
  last_deadline timestamptz, status text, error bytea, codec text, cancelled_as text,
  cancel_reason bytea, payload bytea, id text, store text, rank timestamptz
);
