# What Perl's DBD::Pg is used for, printed: PORT VECTOR VECTOR. The same is expected directly and
# through pgtopk; the last line tells how many vector queries were for the shards.
use strict;
use warnings;
use DBI qw(:sql_types);
use DBD::Pg qw(:pg_types :async);

$| = 1;
my ($port, $near, $other) = @ARGV;
my $top = 'SELECT id, label, embedding <-> ? AS distance FROM items ORDER BY distance, id LIMIT ?';
my $routed = 0;

sub connection {
	return DBI->connect("dbi:Pg:host=127.0.0.1;port=$port;dbname=postgres", 'postgres', '',
		{ AutoCommit => 1, RaiseError => 1, PrintError => 0, PrintWarn => 0, @_ });
}

sub text {
	my ($value) = @_;
	return !defined $value ? 'NULL' : ref $value ? '[' . join(',', map { text($_) } @$value) . ']' : $value;
}

sub show { print join(' ', map { text($_) } @_), "\n" }

# A vector query that belongs to the shards.
sub search {
	my ($statement, @values) = @_;
	$routed++;
	show($statement->execute(@values), $statement->{NAME}, $statement->{TYPE}, $statement->fetchall_arrayref);
}

sub failing {
	my ($dbh, $what, @values) = @_;
	eval { $dbh->do($what, undef, @values); show('no error'); };
	show($dbh->state, $dbh->errstr) if $@;
}

my $dbh = connection();
show($dbh->{pg_server_version} > 100000, $dbh->{pg_protocol}, $dbh->ping > 0);

# statements: prepared on the server, by the driver, and not at all
my $statement = $dbh->prepare($top);
search($statement, $near, 3);
search($statement, $other, 5);
$dbh->{pg_server_prepare} = 0;
show($dbh->selectall_arrayref($top, undef, $near, 2));    # LIMIT '2'
$routed++;
$dbh->{pg_server_prepare} = 1;
search($dbh->prepare('SELECT id FROM items ORDER BY embedding <-> ' . $dbh->quote($near) . ' LIMIT 3'));
failing($dbh, 'SELECT 1/?::int', 0);
failing($dbh, $top, '[1,2]', 3);
failing($dbh, 'SELECT nothing FROM items ORDER BY embedding <-> ? LIMIT 2', $near);
search($statement, $near, 1);
show($dbh->selectrow_array('SELECT ?::int[], ?::text, ?::numeric', undef, [ 1, undef, 2 ], "\x{e9}", '1.50'));
$dbh->do('CREATE TEMP TABLE t (id int PRIMARY KEY, b bytea, name text)');
my $insert = $dbh->prepare('INSERT INTO t VALUES (?, ?, ?)');
$insert->bind_param(2, undef, { pg_type => PG_BYTEA });
$insert->execute($_, "\0\xff$_", "name $_") for 1 .. 200;
show($dbh->selectrow_array('SELECT count(*), sum(length(b)) FROM t'));
show($dbh->selectall_arrayref("SET application_name = 'driver'; SELECT 1; SELECT 'the last'"));

# transactions and savepoints
$dbh->begin_work;
show($dbh->selectall_arrayref($top, undef, $near, 2));    # nothing is written yet
$routed++;
$dbh->pg_savepoint('s');
failing($dbh, 'INSERT INTO t VALUES (1)');
failing($dbh, $top, $near, 2);
$dbh->pg_rollback_to('s');
$dbh->do("DECLARE c CURSOR FOR SELECT id FROM items ORDER BY embedding <-> '$near' LIMIT 10");
show($dbh->selectall_arrayref('FETCH 3 FROM c'));
$dbh->commit;
search($statement, $near, 1);

# COPY
$dbh->do('COPY t (id, name) FROM STDIN');
$dbh->pg_putcopydata("$_\trow $_\n") for 1000 .. 3000;
show($dbh->pg_putcopyend);
$dbh->do('COPY (SELECT id, name FROM t WHERE id >= 1000 ORDER BY id) TO STDOUT');
my ($row, $rows, $bytes) = ('', 0, 0);
while ($dbh->pg_getcopydata($row) >= 0) { $rows++; $bytes += length $row }
show($rows, $bytes);

# asynchronous, cancelled
my $asleep = $dbh->prepare('SELECT pg_sleep(30)', { pg_async => PG_ASYNC });
$asleep->execute;
my $watcher = connection();
1 until $watcher->selectrow_array("SELECT 1 FROM pg_stat_activity WHERE pid = ? AND wait_event = 'PgSleep'", undef, $dbh->{pg_pid});
show($dbh->pg_cancel);
$routed++;
my $later = $dbh->prepare($top, { pg_async => PG_ASYNC });
$later->execute($near, 2);
show($later->pg_result, $later->fetchall_arrayref);

# notifications
$dbh->do('LISTEN driver_perl');
$watcher->do("NOTIFY driver_perl, 'for you'");
my $heard;
1 until $heard = $dbh->pg_notifies;
show($heard->[0], $heard->[2]);

# large objects
$dbh->{AutoCommit} = 0;
my $oid = $dbh->pg_lo_creat($dbh->{pg_INV_WRITE} | $dbh->{pg_INV_READ});
my $large = $dbh->pg_lo_open($oid, $dbh->{pg_INV_WRITE});
show($dbh->pg_lo_write($large, '0123456789' x 1000, 10000), $dbh->pg_lo_lseek($large, 9995, 0));
my $buffer;
show($dbh->pg_lo_read($large, $buffer, 100), $buffer);
$dbh->pg_lo_unlink($oid);
$dbh->rollback;
$dbh->{AutoCommit} = 1;
search($statement, $other, 2);
$dbh->disconnect;
print "routed: $routed\n";
