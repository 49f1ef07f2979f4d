# What psycopg 2 is used for, printed: PORT VECTOR VECTOR. The same is expected directly and
# through pgtopk; the last line tells how many vector queries were for the shards.
import io
import select
import sys
import threading

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.sql

port, near, other = sys.argv[1:4]
TOP = "SELECT id, label, embedding <-> %s AS distance FROM items ORDER BY distance, id LIMIT %s"
routed = 0


def connect(**more):
    return psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", **more)


def show(*what):
    print(*what, flush=True)


def top(cursor, vector, limit):
    """A vector query that belongs to the shards."""
    global routed
    routed += 1
    cursor.execute(TOP, (vector, limit))
    show(cursor.statusmessage, cursor.rowcount, [c.name for c in cursor.description], cursor.fetchall())


def failing(cursor, *statement):
    try:
        cursor.execute(*statement)
        show("no error")
    except psycopg2.Error as error:
        show(type(error).__name__, error.pgcode, error.pgerror, error.diag.message_primary)


def transactions(conn):
    cursor = conn.cursor()
    cursor.execute("CREATE TEMP TABLE t (id int PRIMARY KEY, a int[], j jsonb, b bytea, n numeric)")
    cursor.execute(TOP, (near, 2))  # in a transaction: not for the shards
    show(cursor.fetchall(), conn.info.transaction_status)
    cursor.execute("SAVEPOINT s")
    failing(cursor, "INSERT INTO t VALUES (1), (1)")
    show(conn.info.transaction_status)
    failing(cursor, TOP, (near, 2))
    cursor.execute("ROLLBACK TO SAVEPOINT s")
    cursor.execute("INSERT INTO t VALUES (%s, %s, %s, %s, %s) RETURNING *",
                   (7, [1, None, 3], psycopg2.extras.Json({"k": ["é", 1.5]}), b"\0\xff'\\", "1.50"))
    show([bytes(v) if isinstance(v, memoryview) else v for v in cursor.fetchone()])
    conn.commit()
    with conn.cursor("on_the_server") as named:
        named.itersize = 3
        named.execute(TOP, (near, 10))
        show([row[0] for row in named])
    with conn.cursor("scrolled", scrollable=True) as named:
        named.execute("SELECT generate_series(1, 20)")
        named.scroll(5)
        show(named.fetchmany(4), named.fetchone())
    conn.rollback()
    show(conn.info.transaction_status)


def statements(conn):
    cursor = conn.cursor()
    top(cursor, near, 3)
    failing(cursor, "SELECT 1/0")
    top(cursor, other, 4)
    failing(cursor, "SELECT nothing FROM items ORDER BY embedding <-> %s LIMIT 2", (near,))
    failing(cursor, TOP, ("[1,2]", 3))
    cursor.execute("SET application_name = 'driver'; SELECT 1; SELECT 'the last'")
    show(cursor.fetchall(), conn.get_parameter_status("application_name"))
    failing(cursor, "")
    psycopg2.extras.execute_values(cursor, "INSERT INTO t (id) VALUES %s", [(i,) for i in range(100, 400)])
    psycopg2.extras.execute_batch(cursor, "UPDATE t SET n = %s WHERE id = %s", [(i / 4, i) for i in range(100, 300)])
    cursor.execute("SELECT count(*), sum(n), min(a) FROM t")
    show(cursor.fetchall())
    rows = conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    top(rows, near, 2)
    cursor.execute("PREPARE p (vector, int) AS SELECT id FROM items ORDER BY embedding <-> $1 LIMIT $2")
    cursor.execute("EXECUTE p (%s, 3)", (near,))
    show(cursor.fetchall())
    cursor.execute("DEALLOCATE p")
    failing(cursor, "EXECUTE p (%s, 3)", (near,))
    cursor.execute("DO $$ BEGIN RAISE NOTICE 'noticed'; END $$")
    show(conn.notices[-1:])


def copying(conn):
    cursor = conn.cursor()
    text = "".join("%d\t{%d,%d}\t\\N\t\\N\t%d\n" % (i, i, -i, i) for i in range(1000, 4000))
    cursor.copy_expert("COPY t FROM STDIN", io.StringIO(text))
    show(cursor.rowcount)
    out = io.StringIO()
    cursor.copy_expert("COPY (SELECT * FROM t WHERE id >= 1000 ORDER BY id) TO STDOUT", out)
    show(out.getvalue() == text, len(text))
    out = io.StringIO()
    cursor.copy_expert(psycopg2.sql.SQL("COPY (SELECT id FROM items ORDER BY embedding <-> {} LIMIT 3) TO STDOUT")
                       .format(psycopg2.sql.Literal(near)), out)
    show(out.getvalue().split())
    try:
        cursor.copy_expert("COPY t FROM STDIN", io.StringIO("no number\n"))
    except psycopg2.Error as error:
        show(error.pgcode, error.diag.context)
    top(cursor, near, 1)


def cancelling(conn):
    watcher = connect()
    watcher.autocommit = True
    state = watcher.cursor()

    def cancel():
        state.execute("SELECT pid FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'",
                      (conn.info.backend_pid,))
        while not state.fetchall():
            state.execute("SELECT pid FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'",
                          (conn.info.backend_pid,))
        conn.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    failing(conn.cursor(), "SELECT pg_sleep(30)")
    thread.join()
    top(conn.cursor(), near, 2)
    watcher.close()


def notifications(conn):
    cursor, sender = conn.cursor(), connect()
    sender.autocommit = True
    cursor.execute("LISTEN driver_psycopg2")
    sender.cursor().execute("NOTIFY driver_psycopg2, 'for you'")
    while not conn.notifies:
        select.select([conn], [], [], 10)
        conn.poll()
    show([(n.channel, n.payload) for n in conn.notifies])
    sender.close()


def large_objects():
    conn = connect()
    large = conn.lobject(0, "wb")
    large.write(b"0123456789" * 10000)
    large.seek(5)
    oid = large.oid
    large.close()
    large = conn.lobject(oid, "rb")
    large.seek(99995)
    show(large.read(), large.tell())
    large.unlink()
    conn.commit()
    conn.close()


def asynchronous():
    global routed
    conn = connect(async_=1)
    psycopg2.extras.wait_select(conn)
    cursor = conn.cursor()
    for vector in (near, other):
        routed += 1
        cursor.execute(TOP, (vector, 2))
        psycopg2.extras.wait_select(conn)
        show(cursor.fetchall())
    conn.close()


def characteristics():
    conn = connect()
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    cursor = conn.cursor()
    cursor.execute(TOP, (near, 1))
    show(cursor.fetchall())
    failing(cursor, "CREATE TABLE not_allowed ()")
    conn.reset()
    cursor.execute("SHOW transaction_isolation")
    show(cursor.fetchall())
    conn.close()


connection = connect()
show(connection.server_version > 100000, connection.encoding, connection.info.protocol_version)
transactions(connection)
connection.autocommit = True
statements(connection)
copying(connection)
cancelling(connection)
notifications(connection)
connection.set_client_encoding("LATIN1")
top(connection.cursor(), near, 1)
connection.close()
large_objects()
asynchronous()
characteristics()
show("routed:", routed)
