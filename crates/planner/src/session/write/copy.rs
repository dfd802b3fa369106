//! COPY ... TO: rows into a folder that is empty, or into one file.

use std::collections::HashMap;
use std::path::Path as FsPath;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::CopyToStatement;
use dunlin_base::{Error, QueryId, Result};
use dunlin_proto::write::target::Kind;

use super::{Draft, Place, named, spec_of, target_at};
use crate::catalog::{Format, Location};
use crate::object_stores::is_store_option;
use crate::session::ddl::unsupported;
use crate::session::{Planned, Session, Statement, query};

impl Session {
    /// Plans a COPY. `Invalid`: a target that is not empty or not allowed, a format or an option
    /// that is not known.
    pub(in crate::session) async fn copy(
        &self,
        statement: &Statement,
        copy: &CopyToStatement,
    ) -> Result<Planned> {
        if !copy.partitioned_by.is_empty() {
            return Err(unsupported("COPY PARTITIONED BY"));
        }
        let format = format_of(copy)?;
        let view = self.view().await?;
        let scope = self.scope_of(&view);
        let state = scope.state();
        // The place may be in a table's folder.
        scope.rights().check_create()?;
        let planned = query::logical(&scope, &state, statement, &statement.ast).await?;
        let LogicalPlan::Copy(plan) = planned else {
            return Err(Error::bug("COPY was planned as something else"));
        };
        let (about_store, options): (Vec<_>, Vec<_>) =
            plan.options.into_iter().partition(|(key, _)| is_store_option(key));
        let (location, one_file) = target_of(&copy.target)?;
        let ending = format!(".{}", format.name());
        let mut target = target_at(Kind::Copy, &location, &ending, one_file)?;
        let mut about_store = about_store;
        about_store.sort();
        let spec = spec_of(&location, about_store);
        let said = spec.clone().map(|spec| self.planner.stores.tentative(spec));
        target.access = self.access(&location, spec)?;
        let id = QueryId::generate(&self.planner.env);
        self.check_free(&location, &target, id).await?;
        let rows = self.rows_of(&plan.input, &state, statement, &view).await?;
        let place = Place {
            id,
            schema: named(&rows.schema)?,
            target,
            format,
            options: options.into_iter().collect::<HashMap<_, _>>(),
            one_line: false,
        };
        let planned = Draft { rows, place }.plan(&state)?;
        if let Some(said) = said {
            said.keep();
        }
        Ok(planned)
    }
}

/// The format after STORED AS, else that of the file's name.
fn format_of(copy: &CopyToStatement) -> Result<Format> {
    if let Some(word) = &copy.stored_as {
        return Format::parse(word);
    }
    match Format::of_file(copy.target.trim_end_matches('/')) {
        Some((format, ending)) if ending == format!(".{}", format.name()) => Ok(format),
        Some((_, ending)) => Err(Error::invalid(format!("files '{ending}' cannot be written"))
            .with_hint("Parquet, CSV and JSON can: name the format with STORED AS")),
        None => Err(Error::invalid(format!("the name '{}' says no format", copy.target))
            .with_hint("name it: COPY ... TO '...' STORED AS PARQUET")),
    }
}

/// Where it goes, and whether that is one file: a name with a known ending that is no folder.
fn target_of(text: &str) -> Result<(Location, bool)> {
    let is_folder = text.ends_with('/') || FsPath::new(text).is_dir();
    let one_file = !is_folder && Format::of_file(text).is_some();
    let location = Location::parse(text)?;
    Ok((location, one_file))
}
