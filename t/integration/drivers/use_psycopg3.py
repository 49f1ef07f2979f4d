# What psycopg 3 is used for, printed: PORT VECTOR VECTOR. The same is expected directly and
# through pgtopk; the last line tells how many vector queries were for the shards.
import asyncio
import logging
import sys
import threading

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

port, near, other = sys.argv[1:4]
CONNINFO = "host=127.0.0.1 port=%s user=postgres dbname=postgres" % port
TOP = "SELECT id, label, embedding <-> %s::vector AS distance FROM items ORDER BY distance, id LIMIT %s"
routed = 0
logging.disable()


def connect(**more):
    return psycopg.connect(CONNINFO, **more)


def show(*what):
    print(*what, flush=True)


def show_result(cursor):
    columns = [(c.name, c.type_code) for c in cursor.description]
    show(cursor.statusmessage, cursor.rowcount, columns, cursor.fetchall())


def top(cursor, vector, limit, **how):
    """A vector query that belongs to the shards."""
    global routed
    routed += 1
    show_result(cursor.execute(TOP, (vector, limit), **how))


def failing(cursor, *statement):
    try:
        cursor.execute(*statement)
        show("no error")
    except psycopg.Error as error:
        show(type(error).__name__, error.sqlstate, error.diag.message_primary, error.diag.statement_position)


def statements(conn):
    cursor = conn.cursor()
    for i in range(8):  # prepared by the driver at the sixth
        top(cursor, (near, other)[i % 2], 3 + i % 3)
    top(cursor, near, 3, prepare=True, binary=True)
    top(conn.cursor(binary=True), other, 2)
    top(conn.cursor(row_factory=dict_row), near, 2)
    top(psycopg.ClientCursor(conn), near, 2)
    failing(cursor, "SELECT 1/%s", (0,))
    failing(cursor, TOP, ("[1,2]", 3))
    failing(cursor, "SELECT nothing FROM items ORDER BY embedding <-> %s::vector LIMIT 2", (near,))
    top(cursor, near, 1)
    show_result(cursor.execute("SELECT %s::int[], %s::text, %b::bytea, %s::numeric, %s::jsonb, %s::uuid, now() > %s::date",
                               ([1, None, 2], "é", b"\0\xff", "1.50", '{"k": 1}', "0" * 32, "2020-01-01")))
    cursor.execute("SET application_name = 'driver'; SELECT 1; SELECT 'the last'")
    while True:
        show(cursor.statusmessage, cursor.fetchall() if cursor.description else None)
        if not cursor.nextset():
            break
    show(conn.info.parameter_status("application_name"))
    failing(cursor, "")
    cursor.execute("CREATE TEMP TABLE t (id int PRIMARY KEY, name text, n numeric)")
    cursor.executemany("INSERT INTO t VALUES (%s, %s, %s)", [(i, str(i), i / 4) for i in range(300)])
    show(cursor.rowcount)
    cursor.executemany("UPDATE t SET n = %s WHERE id < %s RETURNING id", [(1, 2), (3, 4)], returning=True)
    show(cursor.fetchall(), cursor.nextset(), cursor.fetchall())


def streaming(conn):
    global routed
    routed += 1
    show([row[0] for row in conn.cursor().stream(TOP, (near, 5))])


def transactions(conn):
    global routed
    with conn.transaction():
        cursor = conn.execute(TOP, (near, 2))  # nothing is written yet
        routed += 1
        show(cursor.fetchall(), conn.info.transaction_status.name)
        try:
            with conn.transaction("inner"):
                conn.execute("INSERT INTO t VALUES (1000)")
                conn.execute("INSERT INTO t VALUES (1000)")
        except psycopg.errors.UniqueViolation as error:
            show(error.diag.constraint_name, error.diag.table_name, conn.info.transaction_status.name)
        with conn.cursor("on_the_server", scrollable=True) as named:
            named.itersize = 3
            named.execute(TOP, (near, 10))
            show([row[0] for row in named])
            named.scroll(2, "absolute")
            show(named.fetchone())
        with conn.transaction(force_rollback=True):
            conn.execute("DELETE FROM t")
    show(conn.execute("SELECT count(*) FROM t").fetchall(), conn.info.transaction_status.name)


def copying(conn):
    cursor = conn.cursor()
    with cursor.copy("COPY t (id, name) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        for i in range(2000, 5000):
            copy.write_row((i, "row é %d" % i))
    show(cursor.rowcount)
    with cursor.copy("COPY (SELECT id, name FROM t WHERE id >= 2000 ORDER BY id) TO STDOUT") as copy:
        copy.set_types(["int4", "text"])
        rows = list(copy.rows())
    show(len(rows), rows[0], rows[-1])
    with cursor.copy(sql.SQL("COPY (SELECT id FROM items ORDER BY embedding <-> {} LIMIT 3) TO STDOUT").format(
            sql.Literal(near))) as copy:
        show([bytes(data) for data in copy])
    try:
        with cursor.copy("COPY t (id) FROM STDIN") as copy:
            copy.write("1\n")
            raise RuntimeError("no more")
    except (psycopg.Error, RuntimeError) as error:
        show(type(error).__name__, str(error).splitlines()[0])
    try:
        with cursor.copy("COPY t (id) FROM STDIN") as copy:
            copy.write("no number\n")
    except psycopg.Error as error:
        show(error.sqlstate, error.diag.context)
    top(cursor, near, 1)


def pipelines(conn):
    """The shards may answer what begins an implicit transaction, not what is inside of one."""
    global routed
    with conn.pipeline() as pipeline:
        first = conn.execute(TOP, (near, 2))
        pipeline.sync()
        plain = [conn.execute("SELECT %s::int", (i,)) for i in range(100)]
        pipeline.sync()
        middle = conn.execute(TOP, (other, 2))
        pipeline.sync()
        last = conn.execute("SELECT 'the last'")
        show([c.fetchone()[0] for c in plain], first.fetchall(), middle.fetchall(), last.fetchall())
    routed += 2
    try:  # whichever of them hears of it first
        with conn.pipeline():
            conn.execute("INSERT INTO t VALUES (9000)")
            conn.execute("SELECT 1/%s::int", (0,))
            conn.execute(TOP, (near, 2))
    except psycopg.Error as error:
        show(error.sqlstate, conn.info.transaction_status.name)
    show(conn.execute("SELECT count(*) FROM t WHERE id = 9000").fetchall())


def cancelling(conn):
    def cancel():
        with connect(autocommit=True) as watcher:
            while not watcher.execute("SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'",
                                      (conn.info.backend_pid,)).fetchall():
                pass
        conn.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    failing(conn.cursor(), "SELECT pg_sleep(%s)", (30,))
    thread.join()
    top(conn.cursor(), near, 2)


def notifications(conn):
    conn.execute("LISTEN driver_psycopg3")
    with connect(autocommit=True) as sender:
        sender.execute("SELECT pg_notify('driver_psycopg3', 'for you')")
    heard = conn.notifies()
    show([(n.channel, n.payload) for n in [next(heard)]])
    heard.close()
    noticed = []
    conn.add_notice_handler(lambda diag: noticed.append((diag.severity, diag.message_primary)))
    conn.execute("DO $$ BEGIN RAISE WARNING 'noticed'; END $$")
    show(noticed)


async def asynchronous():
    global routed
    async with await psycopg.AsyncConnection.connect(CONNINFO, autocommit=True) as conn:
        for vector in (near, other):
            routed += 1
            cursor = await conn.execute(TOP, (vector, 2))
            show(await cursor.fetchall())
    many = [await psycopg.AsyncConnection.connect(CONNINFO, autocommit=True) for _ in range(5)]
    routed += len(many)
    cursors = await asyncio.gather(*[conn.execute(TOP, (near, 1 + i)) for i, conn in enumerate(many)])
    show([len(await cursor.fetchall()) for cursor in cursors])
    for conn in many:
        await conn.close()


connection = connect(autocommit=True)
show(connection.info.encoding, connection.info.server_version > 100000)
statements(connection)
streaming(connection)
transactions(connection)
copying(connection)
pipelines(connection)
cancelling(connection)
notifications(connection)
connection.close()
asyncio.run(asynchronous())
show("routed:", routed)
