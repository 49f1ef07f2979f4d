// What JDBC is used for, printed: PORT VECTOR VECTOR. The same is expected directly and
// through pgtopk; the last line tells how many vector queries were for the shards.
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;

public class UseJdbc {
	static final String TOP = "SELECT id, label, embedding <-> ?::vector AS distance FROM items"
		+ " ORDER BY distance, id LIMIT ?";
	static String port, near, other;
	static int routed;

	static Connection connect(String... options) throws SQLException {
		Properties properties = new Properties();

		properties.setProperty("user", "postgres");
		for (int i = 0; i < options.length; i += 2)
			properties.setProperty(options[i], options[i + 1]);
		return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/postgres", properties);
	}

	static void show(Object... what) {
		System.out.println(Arrays.deepToString(what));
	}

	static void showRows(ResultSet rows) throws SQLException {
		ResultSetMetaData meta = rows.getMetaData();
		List<String> out = new ArrayList<>();

		for (int i = 1; i <= meta.getColumnCount(); i++)
			out.add(meta.getColumnName(i) + ":" + meta.getColumnTypeName(i) + ":" + meta.getTableName(i));
		while (rows.next())
			for (int i = 1; i <= meta.getColumnCount(); i++)
				out.add(rows.getString(i));
		show(out);
	}

	static void failing(Connection connection, String sql) {
		try (Statement statement = connection.createStatement()) {
			statement.execute(sql);
			show("no error");
		} catch (SQLException error) {
			show(error.getSQLState(), error.getMessage());
		}
	}

	static void find(PreparedStatement statement, String vector, int limit) throws SQLException {
		statement.setString(1, vector);
		statement.setInt(2, limit);
		showRows(statement.executeQuery());
	}

	// A vector query that belongs to the shards.
	static void search(PreparedStatement statement, String vector, int limit) throws SQLException {
		routed++;
		find(statement, vector, limit);
	}

	// From the unnamed statement by way of a named one to results in binary.
	static void prepared(Connection connection) throws SQLException {
		try (PreparedStatement statement = connection.prepareStatement(TOP)) {
			for (int i = 0; i < 8; i++)
				search(statement, i % 2 == 0 ? near : other, 2 + i % 3);
			show(statement.getParameterMetaData().getParameterTypeName(2),
				statement.getMetaData().getColumnTypeName(1));
			search(statement, near, 1);
			try {
				find(statement, "[1,2]", 2);
			} catch (SQLException error) {
				show(error.getSQLState(), error.getMessage());
			}
			search(statement, near, 1);
		}
		try (PreparedStatement statement = connection.prepareStatement(TOP)) {
			statement.unwrap(PGStatement.class).setPrepareThreshold(-1); // binary at once
			search(statement, other, 2);
		}
		try (PreparedStatement statement = connection.prepareStatement(
			"SELECT ?::int[], ?::bytea, ?::numeric, ?::timestamptz AT TIME ZONE 'UTC', ?::jsonb, ?::uuid")) {
			statement.setArray(1, connection.createArrayOf("int", new Integer[] {1, null, 2}));
			statement.setBytes(2, new byte[] {0, -1});
			statement.setBigDecimal(3, new java.math.BigDecimal("1.50"));
			statement.setTimestamp(4, new Timestamp(0));
			statement.setString(5, "{\"k\": \"\u00e9\"}");
			statement.setObject(6, new java.util.UUID(1, 2));
			showRows(statement.executeQuery());
		}
		failing(connection, "SELECT 1/0");
		failing(connection, "SELECT nothing FROM items ORDER BY embedding <-> '" + near + "' LIMIT 2");
		try (Statement statement = connection.createStatement()) {
			boolean more = statement.execute("SET application_name = 'driver'; SELECT 1; SELECT 'the last'");
			while (more || statement.getUpdateCount() >= 0) {
				if (more)
					showRows(statement.getResultSet());
				more = statement.getMoreResults();
			}
		}
	}

	static void batches(Connection connection) throws SQLException {
		try (Statement statement = connection.createStatement()) {
			statement.execute("CREATE TEMP TABLE t (id serial PRIMARY KEY, name text)");
		}
		try (PreparedStatement statement = connection.prepareStatement("INSERT INTO t (name) VALUES (?)",
			Statement.RETURN_GENERATED_KEYS)) {
			for (int i = 0; i < 600; i++) {
				statement.setString(1, "name " + i);
				statement.addBatch();
			}
			show(statement.executeBatch().length);
			ResultSet keys = statement.getGeneratedKeys();
			int last = 0;
			while (keys.next())
				last = keys.getInt(1);
			show(last);
		}
		try (PreparedStatement statement = connection.prepareStatement("INSERT INTO t VALUES (?, 'twice')")) {
			for (int i = 0; i < 5; i++) {
				statement.setInt(1, 1000 + i % 3);
				statement.addBatch();
			}
			statement.executeBatch();
		} catch (BatchUpdateException error) {
			show(error.getSQLState(), error.getUpdateCounts());
		}
	}

	static void transactions(Connection connection) throws SQLException {
		connection.setAutoCommit(false);
		try (PreparedStatement statement = connection.prepareStatement(TOP);
			Statement plain = connection.createStatement()) {
			find(statement, near, 2); // in a transaction: not for the shards
			Savepoint savepoint = connection.setSavepoint("s");
			failing(connection, "INSERT INTO t VALUES (1, NULL)");
			failing(connection, "SELECT 1");
			connection.rollback(savepoint);
			plain.setFetchSize(7); // a portal, a few rows at a time
			ResultSet rows = plain.executeQuery("SELECT id FROM t ORDER BY id LIMIT 100");
			int sum = 0;
			while (rows.next())
				sum += rows.getInt(1);
			show(sum);
			statement.setFetchSize(3);
			find(statement, near, 10);
			connection.rollback();
		}
		connection.setAutoCommit(true);
		try (PreparedStatement statement = connection.prepareStatement(TOP)) {
			search(statement, near, 2);
		}
	}

	static void copying(Connection connection) throws Exception {
		StringBuilder in = new StringBuilder();
		StringWriter out = new StringWriter();

		for (int i = 5000; i < 8000; i++)
			in.append(i).append("\trow ").append(i).append('\n');
		show(connection.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY t FROM STDIN",
			new StringReader(in.toString())));
		connection.unwrap(PGConnection.class).getCopyAPI().copyOut(
			"COPY (SELECT * FROM t WHERE id >= 5000 ORDER BY id) TO STDOUT", out);
		show(out.toString().contentEquals(in));
		try {
			connection.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY t FROM STDIN",
				new StringReader("no number\n"));
		} catch (SQLException error) {
			show(error.getSQLState(), error.getMessage());
		}
	}

	static void cancelling(Connection connection) throws Exception {
		int pid = connection.unwrap(PGConnection.class).getBackendPID();

		try (Connection watcher = connect(); Statement statement = connection.createStatement();
			PreparedStatement state = watcher.prepareStatement(
				"SELECT 1 FROM pg_stat_activity WHERE pid = ? AND wait_event = 'PgSleep'")) {
			Thread thread = new Thread(() -> {
				try {
					state.setInt(1, pid);
					while (!state.executeQuery().next())
						;
					statement.cancel();
				} catch (SQLException error) {
					show("not cancelled", error);
				}
			});
			thread.start();
			try {
				statement.execute("SELECT pg_sleep(30)");
			} catch (SQLException error) {
				show(error.getSQLState());
			}
			thread.join();
		}
	}

	static void notifications(Connection connection) throws SQLException {
		try (Statement statement = connection.createStatement(); Connection sender = connect();
			Statement sending = sender.createStatement()) {
			statement.execute("LISTEN driver_jdbc");
			sending.execute("NOTIFY driver_jdbc, 'for you'");
			for (PGNotification heard : connection.unwrap(PGConnection.class).getNotifications(20000))
				show(heard.getName(), heard.getParameter());
			statement.execute("DO $$ BEGIN RAISE WARNING 'noticed'; END $$");
			show(statement.getWarnings().getMessage());
		}
	}

	// Every query mode of the driver.
	static void modes() throws SQLException {
		for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
			try (Connection connection = connect("preferQueryMode", mode, "prepareThreshold", "2");
				PreparedStatement statement = connection.prepareStatement(TOP)) {
				for (int i = 0; i < 4; i++)
					find(statement, near, 1 + i);
				routed += 4; // where it is simple, with LIMIT ('1'::int4)
				show(mode, connection.isValid(5), connection.getMetaData().getTables(null, "public", "items", null)
					.next());
			}
		}
	}

	public static void main(String[] arguments) throws Exception {
		port = arguments[0];
		near = arguments[1];
		other = arguments[2];
		try (Connection connection = connect()) {
			prepared(connection);
			batches(connection);
			transactions(connection);
			copying(connection);
			cancelling(connection);
			notifications(connection);
		}
		modes();
		System.out.println("routed: " + routed);
	}
}
