//! GetXdbcTypeInfo: the types, for ODBC and JDBC. Power BI asks it for every table.

use arrow::record_batch::RecordBatch;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetXdbcTypeInfo, Nullable, Searchable, XdbcDataType as Xdbc, XdbcDatetimeSubcode,
};

use super::fault::Outcome;

/// What is particular of a type.
enum Shape {
    Boolean,
    /// Binary digits; without a sign.
    Integer(i32, bool),
    /// Binary digits.
    Float(i32),
    Decimal,
    Text,
    Binary,
    /// Letters of its text, and the subcode.
    Time(i32, XdbcDatetimeSubcode),
    Interval,
}

/// The types as SQL names them, with their numbers and shapes.
const TYPES: &[(&str, Xdbc, Shape)] = &[
    ("BOOLEAN", Xdbc::XdbcBit, Shape::Boolean),
    ("TINYINT", Xdbc::XdbcTinyint, Shape::Integer(8, false)),
    ("TINYINT UNSIGNED", Xdbc::XdbcTinyint, Shape::Integer(8, true)),
    ("SMALLINT", Xdbc::XdbcSmallint, Shape::Integer(16, false)),
    ("SMALLINT UNSIGNED", Xdbc::XdbcSmallint, Shape::Integer(16, true)),
    ("INTEGER", Xdbc::XdbcInteger, Shape::Integer(32, false)),
    ("INTEGER UNSIGNED", Xdbc::XdbcInteger, Shape::Integer(32, true)),
    ("BIGINT", Xdbc::XdbcBigint, Shape::Integer(64, false)),
    ("BIGINT UNSIGNED", Xdbc::XdbcBigint, Shape::Integer(64, true)),
    ("REAL", Xdbc::XdbcReal, Shape::Float(24)),
    ("FLOAT", Xdbc::XdbcFloat, Shape::Float(24)),
    ("DOUBLE", Xdbc::XdbcDouble, Shape::Float(53)),
    ("DECIMAL", Xdbc::XdbcDecimal, Shape::Decimal),
    ("NUMERIC", Xdbc::XdbcNumeric, Shape::Decimal),
    ("CHAR", Xdbc::XdbcChar, Shape::Text),
    ("VARCHAR", Xdbc::XdbcVarchar, Shape::Text),
    ("STRING", Xdbc::XdbcLongvarchar, Shape::Text),
    ("BYTEA", Xdbc::XdbcVarbinary, Shape::Binary),
    ("DATE", Xdbc::XdbcDate, Shape::Time(10, XdbcDatetimeSubcode::XdbcSubcodeYear)),
    ("TIME", Xdbc::XdbcTime, Shape::Time(18, XdbcDatetimeSubcode::XdbcSubcodeTime)),
    ("TIMESTAMP", Xdbc::XdbcTimestamp, Shape::Time(29, XdbcDatetimeSubcode::XdbcSubcodeTimestamp)),
    ("INTERVAL", Xdbc::XdbcInterval, Shape::Interval),
];

/// The rows of GetXdbcTypeInfo: those of one number, or all.
pub(super) fn xdbc_types(get: CommandGetXdbcTypeInfo) -> Outcome<RecordBatch> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for (name, number, shape) in TYPES {
        builder.append(info(name, *number, shape));
    }
    let data = builder.build()?;
    Ok(get.into_builder(&data).build()?)
}

fn info(name: &str, number: Xdbc, shape: &Shape) -> XdbcTypeInfo {
    // The number that ODBC calls verbose is the general one for times.
    let sql_number = match shape {
        Shape::Time(..) => Xdbc::XdbcDatetime,
        _ => number,
    };
    let mut info = XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: number,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        local_type_name: Some(name.to_owned()),
        sql_data_type: sql_number,
        ..XdbcTypeInfo::default()
    };
    let quoted = |info: &mut XdbcTypeInfo, prefix: &str| {
        info.literal_prefix = Some(prefix.to_owned());
        info.literal_suffix = Some("'".to_owned());
    };
    match shape {
        Shape::Boolean => info.column_size = Some(1),
        Shape::Integer(bits, unsigned) => {
            info.column_size = Some(*bits);
            info.unsigned_attribute = Some(*unsigned);
            info.num_prec_radix = Some(2);
            info.auto_increment = Some(false);
            (info.minimum_scale, info.maximum_scale) = (Some(0), Some(0));
        }
        Shape::Float(bits) => {
            info.column_size = Some(*bits);
            info.unsigned_attribute = Some(false);
            info.num_prec_radix = Some(2);
        }
        Shape::Decimal => {
            info.column_size = Some(38);
            info.unsigned_attribute = Some(false);
            info.num_prec_radix = Some(10);
            info.create_params = Some(vec!["precision".to_owned(), "scale".to_owned()]);
            (info.minimum_scale, info.maximum_scale) = (Some(0), Some(38));
        }
        Shape::Text => {
            quoted(&mut info, "'");
            info.column_size = Some(i32::MAX);
            info.case_sensitive = true;
            info.create_params = Some(vec!["length".to_owned()]);
        }
        Shape::Binary => {
            quoted(&mut info, "X'");
            info.column_size = Some(i32::MAX);
        }
        Shape::Time(letters, subcode) => {
            quoted(&mut info, &format!("{name} '"));
            info.column_size = Some(*letters);
            info.datetime_subcode = Some(*subcode);
        }
        Shape::Interval => {
            quoted(&mut info, "INTERVAL '");
            info.datetime_subcode = Some(XdbcDatetimeSubcode::XdbcSubcodeDayToSecond);
            info.interval_precision = Some(9);
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_gives_its_types_only() {
        let rows =
            |data_type| xdbc_types(CommandGetXdbcTypeInfo { data_type }).expect("rows").num_rows();
        assert_eq!(rows(None), TYPES.len());
        assert_eq!(rows(Some(Xdbc::XdbcBigint as i32)), 2);
        assert_eq!(rows(Some(999)), 0);
    }
}
