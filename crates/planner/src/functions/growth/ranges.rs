//! How long ranges become.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::error::Result;
use dunlin_base::Error;

use super::{at, ints};
use crate::errors::into_datafusion;

const DAY_NANOS: i128 = 86_400_000_000_000;

/// Bytes of all ranges.
pub(super) fn bytes(args: &[ArrayRef], rows: usize) -> Result<u64> {
    if args.iter().any(|array| array.data_type() == &DataType::Null) {
        return Ok(0);
    }
    let first = args.first().map_or(&DataType::Null, |array| array.data_type());
    let (bounds, nanos): (Vec<Int64Array>, i128) = match first {
        DataType::Timestamp(_, zone) => {
            let unit = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
            let nanos = |array: &ArrayRef| ints(&cast(array, &unit)?);
            (args.iter().take(2).map(nanos).collect::<Result<_>>()?, 1)
        }
        DataType::Date32 | DataType::Date64 => {
            let days =
                |array: &ArrayRef| ints(&cast(&cast(array, &DataType::Date32)?, &DataType::Int32)?);
            (args.iter().take(2).map(days).collect::<Result<_>>()?, DAY_NANOS)
        }
        _ => (args.iter().map(ints).collect::<Result<_>>()?, 0),
    };
    let value = |array: &Int64Array, row| {
        let at = at(array, row);
        (!array.is_null(at)).then(|| i128::from(array.value(at)))
    };
    let mut total = 0_u64;
    for row in 0..rows {
        let numbers: Option<Vec<i128>> = bounds.iter().map(|array| value(array, row)).collect();
        let Some(numbers) = numbers else { continue };
        let (start, stop, step) = match (numbers.as_slice(), args.get(2)) {
            ([stop], _) => (0, *stop, 1),
            ([start, stop], Some(step)) if nanos > 0 => {
                (*start * nanos, *stop * nanos, step_nanos(step, row)?)
            }
            ([start, stop], _) => (*start, *stop, 1),
            ([start, stop, step], _) => (*start, *stop, *step),
            _ => continue,
        };
        let count = if step == 0 { 0 } else { (stop - start) / step + 1 };
        total =
            total.saturating_add(u64::try_from(count.max(0)).unwrap_or(u64::MAX).saturating_mul(8));
    }
    Ok(total)
}

/// The least that a step goes; 0 for NULL and for what the function refuses.
fn step_nanos(step: &ArrayRef, row: usize) -> Result<i128> {
    let step = cast(step, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let step = step.as_primitive::<IntervalMonthDayNanoType>();
    let at = at(step, row);
    if step.is_null(at) {
        return Ok(0);
    }
    let (months, days, nanos) = IntervalMonthDayNanoType::to_parts(step.value(at));
    let parts =
        [i128::from(months) * 28 * DAY_NANOS, i128::from(days) * DAY_NANOS, i128::from(nanos)];
    if parts.iter().any(|part| *part < 0) && parts.iter().any(|part| *part > 0) {
        let error = Error::invalid("the parts of a step have different signs");
        return Err(into_datafusion(error));
    }
    Ok(parts.iter().sum())
}
