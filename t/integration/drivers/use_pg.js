// What node's pg is used for, printed: PORT VECTOR VECTOR. The same is expected directly and
// through pgtopk; the last line tells how many vector queries were for the shards.
const { Client, Pool } = require('pg');

const [port, near, other] = process.argv.slice(2);
const config = { host: '127.0.0.1', port: +port, user: 'postgres', database: 'postgres' };
const top = 'SELECT id, label, embedding <-> $1 AS distance FROM items ORDER BY distance, id LIMIT $2';
let routed = 0;

process.removeAllListeners('warning'); // they have the process's number in them

const show = (...what) => console.log(...what.map((value) => JSON.stringify(value)));

function showResult(result) {
  show(result.command, result.rowCount, result.fields.map((f) => [f.name, f.dataTypeID, f.format]), result.rows);
}

// A vector query that belongs to the shards.
async function search(client, query) {
  routed++;
  showResult(await client.query(query));
}

async function failing(client, ...query) {
  try {
    await client.query(...query);
    show('no error');
  } catch (error) {
    show(error.code, error.severity, error.message, error.position, error.constraint);
  }
}

async function statements(client) {
  for (let i = 0; i < 3; i++) {
    await search(client, { text: top, values: [near, 3 + i] });
    await search(client, { name: 'near', text: top, values: [i % 2 ? other : near, 3 + i] });
    await search(client, { text: top, values: [other, 2], rowMode: 'array' });
    showResult(await client.query('SELECT $1::int AS n, $2::text[] AS t, $3::jsonb AS j, $4::bytea AS b, $5::timestamptz AS m',
      [i, ['a', null, 'é'], { k: [1.5] }, Buffer.from([0, 255]), new Date(0)]));
  }
  await search(client, `SELECT id FROM items ORDER BY embedding <-> ${client.escapeLiteral(near)} LIMIT 3`);
  await failing(client, top, ['[1,2]', 3]);
  await failing(client, 'SELECT nothing FROM items ORDER BY embedding <-> $1 LIMIT 2', [near]);
  await failing(client, 'SELECT 1/$1::int', [0]);
  await failing(client, { name: 'near', text: 'SELECT 1' });
  const several = await client.query("SET application_name = 'driver'; SELECT 1 AS a; SELECT 'the last' AS b");
  several.forEach(showResult);
  show((await client.query('')).rows);
  // not awaited one by one: the driver queues them
  routed += 2;
  const queued = [client.query('SELECT 1 AS a'), client.query(top, [near, 1]), client.query('SELECT 1/0').catch((e) => ({ rows: e.code })),
    client.query(top, [other, 1]), client.query('SELECT 2 AS a')];
  show((await Promise.all(queued)).map((result) => result.rows));
}

async function transactions(client) {
  await client.query('CREATE TEMP TABLE t (id int PRIMARY KEY)');
  await client.query('BEGIN');
  showResult(await client.query(top, [near, 2])); // in a transaction: not for the shards
  await client.query('SAVEPOINT s');
  await failing(client, 'INSERT INTO t VALUES (1), (1)');
  await failing(client, top, [near, 2]);
  await client.query('ROLLBACK TO SAVEPOINT s');
  await client.query('INSERT INTO t SELECT generate_series(1, 5000)');
  await client.query(`DECLARE c CURSOR FOR SELECT id FROM items ORDER BY embedding <-> '${near}' LIMIT 10`);
  showResult(await client.query('FETCH 4 FROM c'));
  await client.query('COMMIT');
  const many = await client.query('SELECT id, repeat($1, 50) AS x FROM t ORDER BY id', ['x']);
  show(many.rows.length, many.rows[4999]);
  await search(client, { text: top, values: [near, 1] });
}

async function notifications(client) {
  const noticed = new Promise((resolve) => client.once('notice', resolve));
  await client.query("DO $$ BEGIN RAISE WARNING 'noticed'; END $$");
  show((await noticed).message);
  const heard = new Promise((resolve) => client.once('notification', resolve));
  await client.query('LISTEN driver_node');
  await client.query("NOTIFY driver_node, 'for you'");
  const { channel, payload } = await heard;
  show(channel, payload);
}

async function cancelling(client) {
  const watcher = new Client(config);
  await watcher.connect();
  const asleep = client.query('SELECT pg_sleep(30)').catch((error) => error);
  const { rows: [{ pid }] } = await watcher.query("SELECT pid FROM pg_stat_activity WHERE pid = $1", [client.processID]);
  for (;;) {
    const { rowCount } = await watcher.query("SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'", [pid]);
    if (rowCount) break;
  }
  await watcher.query('SELECT pg_cancel_backend($1)', [pid]);
  show((await asleep).code);
  await search(client, { text: top, values: [near, 1] });
  await watcher.end();
}

async function pool() {
  const many = new Pool({ ...config, max: 4 });
  routed += 12;
  const results = await Promise.all([...Array(12).keys()].map((i) => many.query(top, [i % 2 ? near : other, i + 1])));
  show(results.map((result) => result.rows.map((row) => row.id)));
  await many.end();
}

(async () => {
  const client = new Client(config);
  await client.connect();
  await statements(client);
  await transactions(client);
  await notifications(client);
  await cancelling(client);
  await client.end();
  await pool();
  console.log('routed:', routed);
})().catch((error) => { console.log(error); process.exit(1); });
