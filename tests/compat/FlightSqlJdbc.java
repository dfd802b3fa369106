// Drives a Flight SQL door with Apache Arrow's JDBC driver, as a stranger would.
//
// usage: java --add-opens=java.base/java.nio=ALL-UNNAMED -cp DRIVER.jar FlightSqlJdbc.java HOST:PORT USER PASSWORD
//
// Called by tests/compat/doors.py, which makes the tables. Prints one line for each check; the exit
// code is the number of checks that failed.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;

public class FlightSqlJdbc {
    interface Check {
        void run(Connection connection) throws Exception;
    }

    static void same(Object expected, Object actual) {
        if (expected == null ? actual != null : !expected.equals(actual)) {
            throw new AssertionError("expected " + expected + ", not " + actual);
        }
    }

    static void holds(boolean condition, Object what) {
        if (!condition) {
            throw new AssertionError(String.valueOf(what));
        }
    }

    /** One column of a result, as text. */
    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        while (rows.next()) {
            values.add(rows.getString(name));
        }
        rows.close();
        return values;
    }

    static void statements(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery("SELECT count(*) AS n, min(n_name) AS first FROM nation");
            holds(rows.next(), "a row");
            same(25L, rows.getLong("n"));
            same("ALGERIA", rows.getString(2));
            holds(!rows.next(), "one row");
            rows = statement.executeQuery("SELECT l_comment FROM lineitem");
            int count = 0;
            while (rows.next()) {
                count++;
            }
            same(1500, count);
            holds(!statement.executeQuery("SELECT n_name FROM nation WHERE false").next(), "no rows");
        }
    }

    static void types(Connection connection) throws Exception {
        String sql = "SELECT true AS b, CAST(1 AS SMALLINT) AS s, CAST(2 AS BIGINT) AS l, CAST(1.5 AS DOUBLE) AS d, "
                + "'ä' AS t, DATE '2026-11-21' AS day, TIMESTAMP '2026-11-21 10:11:12.5' AS at, "
                + "CAST('1.25' AS DECIMAL(10, 2)) AS e, CAST(NULL AS INT) AS none";
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            holds(rows.next(), "a row");
            same(true, rows.getBoolean("b"));
            same((short) 1, rows.getShort("s"));
            same(2L, rows.getLong("l"));
            same(1.5, rows.getDouble("d"));
            same("ä", rows.getString("t"));
            same("2026-11-21", rows.getString("day"));
            holds(rows.getDate("day") instanceof Date, "a date");
            holds(rows.getString("at").startsWith("2026-11-21 10:11:12.5"), rows.getString("at"));
            same(new BigDecimal("1.25"), rows.getBigDecimal("e"));
            same(0, rows.getInt("none"));
            holds(rows.wasNull(), "NULL");
            ResultSetMetaData columns = rows.getMetaData();
            int[] expected = {Types.BOOLEAN, Types.SMALLINT, Types.BIGINT, Types.DOUBLE, Types.VARCHAR, Types.DATE,
                Types.TIMESTAMP, Types.DECIMAL, Types.INTEGER};
            same(expected.length, columns.getColumnCount());
            for (int n = 0; n < expected.length; n++) {
                same(columns.getColumnName(n + 1) + " " + expected[n],
                        columns.getColumnName(n + 1) + " " + columns.getColumnType(n + 1));
            }
        }
    }

    static void parameters(Connection connection) throws Exception {
        String sql = "SELECT n_name FROM nation WHERE n_nationkey = ? OR n_name = ? ORDER BY n_name";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setLong(1, 3);
            statement.setString(2, "FRANCE");
            same(List.of("CANADA", "FRANCE"), column(statement.executeQuery(), "n_name"));
            statement.setLong(1, 3);
            statement.setString(2, "x' OR '1'='1");
            same(List.of("CANADA"), column(statement.executeQuery(), "n_name"));
        }
        String decimals = "SELECT CAST(? AS DECIMAL(10, 2)) AS e, CAST(? AS DATE) AS day";
        try (PreparedStatement statement = connection.prepareStatement(decimals)) {
            statement.setBigDecimal(1, new BigDecimal("12.50"));
            statement.setDate(2, Date.valueOf("2026-01-02"));
            ResultSet rows = statement.executeQuery();
            holds(rows.next(), "a row");
            same(new BigDecimal("12.50"), rows.getBigDecimal(1));
            same("2026-01-02", rows.getString(2));
        }
    }

    static void changes(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("CREATE SCHEMA IF NOT EXISTS jdbc");
            statement.executeUpdate("CREATE OR REPLACE VIEW jdbc.v AS SELECT 1 AS x");
            same(List.of("1"), column(statement.executeQuery("SELECT x FROM jdbc.v"), "x"));
            statement.executeUpdate("CREATE TABLE jdbc.t AS SELECT n_name FROM nation");
            same(5, statement.executeUpdate("INSERT INTO jdbc.t SELECT n_name FROM nation LIMIT 5"));
            same(List.of("30"), column(statement.executeQuery("SELECT count(*) AS n FROM jdbc.t"), "n"));
            statement.executeUpdate("DROP TABLE jdbc.t");
            statement.executeUpdate("DROP VIEW jdbc.v");
            statement.executeUpdate("DROP SCHEMA jdbc");
        }
    }

    static void metadata(Connection connection) throws Exception {
        DatabaseMetaData about = connection.getMetaData();
        same("Dunlin", about.getDatabaseProductName());
        holds(!about.supportsTransactions(), "no transactions");
        same(List.of("dunlin"), column(about.getCatalogs(), "TABLE_CAT"));
        holds(column(about.getSchemas(), "TABLE_SCHEM").contains("public"), "public");
        List<String> tables = column(about.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME");
        holds(tables.contains("nation") && tables.contains("lineitem"), tables);
        same(List.of("nation"), column(about.getTables(null, null, "nat%", null), "TABLE_NAME"));
        List<String> kinds = column(about.getTableTypes(), "TABLE_TYPE");
        holds(kinds.contains("TABLE") && kinds.contains("VIEW"), kinds);
        same(List.of("n_nationkey", "n_name", "n_regionkey", "n_comment"), column(about.getColumns(null, "public", "nation", "%"), "COLUMN_NAME"));
        ResultSet columns = about.getColumns(null, "public", "nation", "n_nationkey");
        holds(columns.next(), "a column");
        same(Types.BIGINT, columns.getInt("DATA_TYPE"));
        columns.close();
        // The driver has none of its own and asks for none; it must not fail.
        about.getTypeInfo().close();
        same(List.of(), column(about.getPrimaryKeys(null, "public", "nation"), "COLUMN_NAME"));
        same(List.of(), column(about.getImportedKeys(null, "public", "nation"), "FKCOLUMN_NAME"));
        holds(about.getSQLKeywords() != null && about.getNumericFunctions().contains("abs"), "functions");
        holds(about.getIdentifierQuoteString().equals("\""), about.getIdentifierQuoteString());
    }

    static void errors(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.executeQuery("SELECT *\nFROM natoin");
            throw new AssertionError("no error");
        } catch (SQLException error) {
            holds(error.getMessage().contains("unknown table 'natoin' (line 2, column 6)"), error.getMessage());
            holds(error.getMessage().contains("nation"), error.getMessage());
            // The driver gives errors of the server no SQLSTATE.
            holds(!"00000".equals(error.getSQLState()), error.getSQLState());
        }
        // The connection goes on.
        statements(connection);
    }

    static void cancel(Connection connection) throws Exception {
        String slow = "SELECT sum(length(md5(concat(repeat(a.l_comment, 50), b.n_name, c.n_name)))) "
                + "FROM lineitem a, nation b, nation c";
        try (Statement statement = connection.createStatement()) {
            CountDownLatch begun = new CountDownLatch(1);
            Thread canceller = new Thread(() -> {
                try {
                    begun.await();
                    // A moment in the middle of the query, not a wait for something.
                    Thread.sleep(1000);
                    statement.cancel();
                } catch (InterruptedException | SQLException error) {
                    System.out.println("cancel: " + error);
                }
            });
            canceller.start();
            begun.countDown();
            long before = System.nanoTime();
            try {
                ResultSet rows = statement.executeQuery(slow);
                rows.next();
                throw new AssertionError("it was not cancelled");
            } catch (SQLException error) {
                holds(System.nanoTime() - before < 60_000_000_000L, "it took too long");
            } finally {
                canceller.join();
            }
        }
        try (Statement statement = connection.createStatement()) {
            same(List.of("1"), column(statement.executeQuery("SELECT 1 AS one"), "one"));
        }
    }

    static void stranger(String url, String user) throws Exception {
        Properties wrong = new Properties();
        wrong.setProperty("user", user);
        wrong.setProperty("password", "no");
        wrong.setProperty("useEncryption", "false");
        try (Connection connection = DriverManager.getConnection(url, wrong)) {
            connection.createStatement().executeQuery("SELECT 1");
            throw new AssertionError("let in");
        } catch (SQLException error) {
            holds(error.getMessage().contains("wrong password"), error.getMessage());
        }
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:arrow-flight-sql://" + arguments[0] + "/";
        Properties login = new Properties();
        login.setProperty("user", arguments[1]);
        login.setProperty("password", arguments[2]);
        login.setProperty("useEncryption", "false");
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("statements", FlightSqlJdbc::statements);
        checks.put("types", FlightSqlJdbc::types);
        checks.put("parameters", FlightSqlJdbc::parameters);
        checks.put("changes", FlightSqlJdbc::changes);
        checks.put("metadata", FlightSqlJdbc::metadata);
        checks.put("errors", FlightSqlJdbc::errors);
        checks.put("cancel", FlightSqlJdbc::cancel);
        checks.put("stranger", ignored -> stranger(url, arguments[1]));
        int failed = 0;
        for (Map.Entry<String, Check> check : checks.entrySet()) {
            try (Connection connection = DriverManager.getConnection(url, login)) {
                check.getValue().run(connection);
                System.out.println("ok      " + check.getKey());
            } catch (Throwable error) {
                failed++;
                System.out.println("FAILED  " + check.getKey() + ": " + error);
            }
        }
        System.exit(failed);
    }
}
