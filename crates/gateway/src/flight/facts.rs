//! GetSqlInfo: what tools ask before they write SQL.
//!
//! The list is complete on purpose: a driver for Java throws a null pointer at what is left out.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arrow::record_batch::RecordBatch;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{CommandGetSqlInfo, SqlInfo};

use super::fault::Outcome;

/// Functions of each kind that tools may write.
const NUMERIC: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "cbrt", "ceil", "cos", "cot", "degrees", "exp",
    "floor", "gcd", "lcm", "ln", "log", "log10", "log2", "pi", "power", "radians", "random",
    "round", "sign", "sin", "sqrt", "tan", "trunc",
];
const STRING: &[&str] = &[
    "ascii",
    "bit_length",
    "btrim",
    "char_length",
    "chr",
    "concat",
    "concat_ws",
    "initcap",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "octet_length",
    "position",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "to_hex",
    "translate",
    "trim",
    "upper",
];
const DATETIME: &[&str] = &[
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "extract",
    "from_unixtime",
    "make_date",
    "now",
    "to_char",
    "to_date",
    "to_timestamp",
    "to_unixtime",
];
const SYSTEM: &[&str] = &["coalesce", "nullif", "nvl", "version"];
/// Words beyond SQL:2003 that need quotes as names.
const KEYWORDS: &[&str] = &["EXPLAIN", "EXTERNAL", "ILIKE", "LIMIT", "OFFSET", "QUALIFY", "SHOW"];

/// What is so, and what is not.
const YES: &[SqlInfo] = &[
    SqlInfo::FlightSqlServerSql,
    SqlInfo::FlightSqlServerBulkIngestion,
    SqlInfo::FlightSqlServerCancel,
    SqlInfo::SqlDdlSchema,
    SqlInfo::SqlDdlTable,
    SqlInfo::SqlAllTablesAreSelectable,
    SqlInfo::SqlSupportsColumnAliasing,
    SqlInfo::SqlNullPlusNullIsNull,
    SqlInfo::SqlSupportsTableCorrelationNames,
    SqlInfo::SqlSupportsExpressionsInOrderBy,
    SqlInfo::SqlSupportsOrderByUnrelated,
    SqlInfo::SqlSupportsNonNullableColumns,
    SqlInfo::SqlCatalogAtStart,
    SqlInfo::SqlCorrelatedSubqueriesSupported,
    SqlInfo::SqlMaxRowSizeIncludesBlobs,
];
const NO: &[SqlInfo] = &[
    SqlInfo::FlightSqlServerReadOnly,
    SqlInfo::FlightSqlServerSubstrait,
    SqlInfo::FlightSqlServerIngestTransactionsSupported,
    SqlInfo::SqlDdlCatalog,
    SqlInfo::SqlSupportsDifferentTableCorrelationNames,
    SqlInfo::SqlSupportsLikeEscapeClause,
    SqlInfo::SqlSupportsIntegrityEnhancementFacility,
    SqlInfo::SqlSelectForUpdateSupported,
    SqlInfo::SqlStoredProceduresSupported,
    SqlInfo::SqlTransactionsSupported,
    SqlInfo::SqlDataDefinitionCausesTransactionCommit,
    SqlInfo::SqlDataDefinitionsInTransactionsIgnored,
    SqlInfo::SqlBatchUpdatesSupported,
    SqlInfo::SqlSavepointsSupported,
    SqlInfo::SqlNamedParametersSupported,
    SqlInfo::SqlLocatorsUpdateCopy,
    SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported,
];

/// Ordinals and bit masks, as `FlightSql.proto` numbers them.
const NUMBERS: &[(SqlInfo, i32)] = &[
    (SqlInfo::FlightSqlServerTransaction, 0),      // none
    (SqlInfo::FlightSqlServerStatementTimeout, 0), // none that the client sets
    (SqlInfo::FlightSqlServerTransactionTimeout, 0),
    (SqlInfo::SqlIdentifierCase, 3),       // names fold to lower case
    (SqlInfo::SqlQuotedIdentifierCase, 1), // quoted ones are as they are
    (SqlInfo::SqlNullOrdering, 0),         // nulls sort high
    (SqlInfo::SqlSupportedGroupBy, 3),     // unrelated, beyond select
    (SqlInfo::SqlSupportedGrammar, 3),     // minimum, core
    (SqlInfo::SqlAnsi92SupportedLevel, 1), // entry
    (SqlInfo::SqlOuterJoinsSupportLevel, 2), // full
    (SqlInfo::SqlSchemasSupportedActions, 0),
    (SqlInfo::SqlCatalogsSupportedActions, 0),
    (SqlInfo::SqlSupportedPositionedCommands, 0),
    (SqlInfo::SqlSupportedSubqueries, 7), // comparisons, EXISTS, IN
    (SqlInfo::SqlSupportedUnions, 3),     // UNION, UNION ALL
    (SqlInfo::SqlDefaultTransactionIsolation, 0),
    (SqlInfo::SqlSupportedTransactionsIsolationLevels, 1), // none
    (SqlInfo::SqlSupportedResultSetTypes, 3),              // unspecified, forward only
    (SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 2), // read only
    (SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, 2),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0),
];

/// Largest sizes; 0 stands for none that is known.
const SIZES: &[(SqlInfo, i64)] = &[
    (SqlInfo::SqlMaxBinaryLiteralLength, 0),
    (SqlInfo::SqlMaxCharLiteralLength, 0),
    (SqlInfo::SqlMaxColumnNameLength, 0),
    (SqlInfo::SqlMaxColumnsInGroupBy, 0),
    (SqlInfo::SqlMaxColumnsInIndex, 0),
    (SqlInfo::SqlMaxColumnsInOrderBy, 0),
    (SqlInfo::SqlMaxColumnsInSelect, 0),
    (SqlInfo::SqlMaxColumnsInTable, 0),
    (SqlInfo::SqlMaxConnections, 0),
    (SqlInfo::SqlMaxCursorNameLength, 0),
    (SqlInfo::SqlMaxIndexLength, 0),
    (SqlInfo::SqlDbSchemaNameLength, 0),
    (SqlInfo::SqlMaxProcedureNameLength, 0),
    (SqlInfo::SqlMaxCatalogNameLength, 0),
    (SqlInfo::SqlMaxRowSize, 64 << 20),
    (SqlInfo::SqlMaxStatementLength, 8 << 20),
    (SqlInfo::SqlMaxStatements, 0),
    (SqlInfo::SqlMaxTableNameLength, 0),
    (SqlInfo::SqlMaxTablesInSelect, 1000),
    (SqlInfo::SqlMaxUsernameLength, 128),
];

const TEXTS: &[(SqlInfo, &str)] = &[
    (SqlInfo::FlightSqlServerName, "Dunlin"),
    (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
    (SqlInfo::FlightSqlServerArrowVersion, "1.5"),
    (SqlInfo::FlightSqlServerSubstraitMinVersion, ""),
    (SqlInfo::FlightSqlServerSubstraitMaxVersion, ""),
    (SqlInfo::SqlIdentifierQuoteChar, "\""),
    (SqlInfo::SqlSearchStringEscape, "\\"),
    (SqlInfo::SqlExtraNameCharacters, ""),
    (SqlInfo::SqlSchemaTerm, "schema"),
    (SqlInfo::SqlProcedureTerm, "procedure"),
    (SqlInfo::SqlCatalogTerm, "catalog"),
];

const LISTS: &[(SqlInfo, &[&str])] = &[
    (SqlInfo::SqlKeywords, KEYWORDS),
    (SqlInfo::SqlNumericFunctions, NUMERIC),
    (SqlInfo::SqlStringFunctions, STRING),
    (SqlInfo::SqlSystemFunctions, SYSTEM),
    (SqlInfo::SqlDatetimeFunctions, DATETIME),
];

/// The rows of GetSqlInfo: those asked for, or all.
pub(super) fn sql_info(get: CommandGetSqlInfo) -> Outcome<RecordBatch> {
    static DATA: OnceLock<SqlInfoData> = OnceLock::new();
    let data = match DATA.get() {
        Some(data) => data,
        None => {
            let made = make()?;
            DATA.get_or_init(|| made)
        }
    };
    Ok(get.into_builder(data).build()?)
}

fn make() -> Outcome<SqlInfoData> {
    let mut builder = SqlInfoDataBuilder::new();
    YES.iter().for_each(|info| builder.append(*info, true));
    NO.iter().for_each(|info| builder.append(*info, false));
    NUMBERS.iter().for_each(|(info, number)| builder.append(*info, *number));
    SIZES.iter().for_each(|(info, size)| builder.append(*info, *size));
    TEXTS.iter().for_each(|(info, text)| builder.append(*info, *text));
    LISTS.iter().for_each(|(info, list)| builder.append(*info, *list));
    // The CONVERT of ODBC is not ours; CAST is.
    builder.append(SqlInfo::SqlSupportsConvert, BTreeMap::<i32, Vec<i32>>::new());
    Ok(builder.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_that_the_protocol_knows_has_one_answer() {
        let all = sql_info(CommandGetSqlInfo { info: Vec::new() }).expect("rows");
        let numbers = (0..=11).chain(100..=101).chain(500..=576);
        assert_eq!(all.num_rows(), numbers.clone().count());
        for number in numbers {
            let one = sql_info(CommandGetSqlInfo { info: vec![number] }).expect("a row");
            assert_eq!(one.num_rows(), 1, "{number}");
        }
    }
}
