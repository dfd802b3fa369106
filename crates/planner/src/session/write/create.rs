//! CREATE TABLE AS: a fresh folder of files, and a table over it once they are all there.

use std::collections::HashMap;
use std::path::Path as FsPath;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::sql::parser::Statement as Ast;
use datafusion::sql::sqlparser::ast::{
    CreateTable, CreateTableOptions, Expr, SqlOption, Statement as Sql, Value,
};
use dunlin_base::{Error, QueryId, Result};
use dunlin_proto::catalog::v1::{ExternalTable, Option as TableOption};
use dunlin_proto::write::NewTable;
use dunlin_proto::write::target::Kind;

use super::{Draft, Place, named, target_at};
use crate::catalog::{
    Access, Definition, Format, Location, Name, Object, Rights, check_may_create, encode_schema,
};
use crate::errors::in_text;
use crate::session::ddl::{refuse_folder_table, unsupported};
use crate::session::{Planned, Session, Statement, query};

/// A table that is to be made.
pub(super) struct New<'a> {
    pub(super) name: Name,
    pub(super) with: With,
    pub(super) warehouse: &'a str,
    pub(super) rights: &'a Rights,
    /// What asked for it, for people.
    pub(super) sql: &'a str,
}

/// What WITH (...) says of a new table.
#[derive(Debug, Default)]
pub(super) struct With {
    format: Option<Format>,
    location: Option<String>,
    /// `format.*` options.
    options: HashMap<String, String>,
}

impl Session {
    /// Plans a CREATE TABLE AS. `Invalid`: the name is taken, there is no place for its files.
    pub(in crate::session) async fn create_table_as(
        &self,
        statement: &Statement,
        create: &CreateTable,
    ) -> Result<Planned> {
        if create.or_replace {
            return Err(unsupported("CREATE OR REPLACE TABLE").with_hint("DROP TABLE first"));
        }
        if !create.columns.is_empty() {
            return Err(Error::invalid("CREATE TABLE AS has the columns of its query")
                .with_hint("name and cast them there: SELECT CAST(x AS INT) AS n"));
        }
        let with = with(&create.table_options)?;
        let view = self.view().await?;
        let scope = self.scope_of(&view);
        let state = scope.state();
        let source = create.query.clone().ok_or_else(|| Error::bug("CREATE TABLE without AS"))?;
        let source = Ast::Statement(Box::new(Sql::Query(source)));
        if let Some(error) = query::unknown_table(&scope, &state, statement, &source)? {
            return Err(error);
        }
        let plain = CreateTable { table_options: CreateTableOptions::None, ..create.clone() };
        let plain = Ast::Statement(Box::new(Sql::CreateTable(plain)));
        let planned = state.statement_to_plan(plain).await;
        let planned = planned.map_err(|e| in_text(&e, &statement.text))?;
        let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(table)) = planned else {
            return Err(unsupported("this CREATE TABLE"));
        };
        let name = query::name_of(&state, &table.name)?;
        refuse_folder_table(&scope, &name)?;
        let rights = scope.rights();
        check_may_create(rights, &name)?;
        if with.location.is_some() || view.settings.warehouse != self.planner.settings.warehouse {
            // A place of its own choice may be in another table's folder.
            rights.check_create()?;
        }
        if let Some(there) = scope.snapshot().get(&name) {
            return taken(&name, there.definition.kind(), table.if_not_exists);
        }
        let rows = self.rows_of(&table.input, &state, statement, &view).await?;
        let schema = named(&rows.schema)?;
        let (warehouse, sql) = (view.settings.warehouse.as_str(), statement.sql());
        let new = New { name, with, warehouse, rights, sql };
        Draft { place: self.place_for(new, schema).await?, rows }.plan(&state)
    }

    /// Where the files of a table that is made go. `Invalid`: there is no place for them.
    pub(super) async fn place_for(&self, new: New<'_>, schema: SchemaRef) -> Result<Place> {
        let New { name, with, warehouse, rights, sql } = new;
        let id = QueryId::generate(&self.planner.env);
        let format = with.format.unwrap_or(Format::Parquet);
        let text = match with.location {
            Some(location) => absolute(&location),
            None => fresh_folder(warehouse, &name, id)?,
        };
        let location = Location::parse(&text)?;
        let mut target = target_at(Kind::Create, &location, &format!(".{}", format.name()), false)?;
        target.access = self.access(&location, None)?;
        self.check_free(&location, &target, id).await?;
        let definition = definition(&text, format, &with.options, sql, &schema)?;
        target.table = Some(NewTable {
            schema: name.schema,
            name: name.object.unwrap_or_default(),
            definition: Object {
                definition: Definition::Table(Box::new(definition)),
                access: Access { owner: rights.owner(), grants: Vec::new() },
            }
            .encode(),
        });
        Ok(Place { id, schema, target, format, options: with.options, one_line: true })
    }
}

fn taken(name: &Name, kind: &str, if_not_exists: bool) -> Result<Planned> {
    if if_not_exists {
        return Ok(Planned::Done(format!("CREATE TABLE ('{name}' was there already)")));
    }
    Err(Error::invalid(format!("{kind} '{name}' already exists"))
        .with_hint("drop it first, or use IF NOT EXISTS"))
}

fn definition(
    location: &str,
    format: Format,
    options: &HashMap<String, String>,
    sql: &str,
    schema: &SchemaRef,
) -> Result<ExternalTable> {
    let mut options: Vec<_> = options
        .iter()
        .map(|(key, value)| TableOption { key: key.clone(), value: value.clone() })
        .collect();
    options.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(ExternalTable {
        locations: vec![location.to_owned()],
        format: format.name().to_owned(),
        options,
        // Parquet files know their types, text files do not.
        schema: match format {
            Format::Parquet => bytes::Bytes::new(),
            _ => encode_schema(schema)?,
        },
        sql: sql.to_owned(),
        ..ExternalTable::default()
    })
}

/// A folder that no other table has.
fn fresh_folder(warehouse: &str, name: &Name, id: QueryId) -> Result<String> {
    if warehouse.is_empty() {
        return Err(Error::invalid("there is no place for the files of new tables").with_hint(
            "name one: SET dunlin.warehouse = '...', or CREATE TABLE t WITH (location = '...') AS",
        ));
    }
    let word = |text: &str| -> String {
        let keep = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' };
        text.chars().map(keep).collect()
    };
    let (schema, table) = (word(&name.schema), word(name.object.as_deref().unwrap_or_default()));
    let warehouse = absolute(warehouse);
    Ok(format!("{warehouse}{schema}/{table}-{id}/"))
}

/// Another process has another working folder. Ends with a slash.
fn absolute(text: &str) -> String {
    let text = text.trim_end_matches('/');
    match std::path::absolute(FsPath::new(text)) {
        Ok(absolute) if !text.contains("://") => format!("{}/", absolute.display()),
        _ => format!("{text}/"),
    }
}

fn with(options: &CreateTableOptions) -> Result<With> {
    let mut with = With::default();
    let list = match options {
        CreateTableOptions::None => return Ok(with),
        CreateTableOptions::With(list) | CreateTableOptions::Options(list) => list,
        _ => return Err(unsupported("this form of options of CREATE TABLE")),
    };
    for option in list {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(Error::invalid(format!("'{option}' is no option of CREATE TABLE AS")));
        };
        let value = text(value)?;
        match key.value.to_lowercase().as_str() {
            "format" => with.format = Some(Format::parse(&value)?),
            "location" => with.location = Some(value),
            key if key.starts_with("format.") => drop(with.options.insert(key.to_owned(), value)),
            _ => {
                return Err(Error::invalid(format!(
                    "CREATE TABLE AS has no option '{}'",
                    key.value
                ))
                .with_hint("there are: format, location, and format.* in double quotes"));
            }
        }
    }
    Ok(with)
}

fn text(value: &Expr) -> Result<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Ok(text.clone()),
            Value::Number(..) | Value::Boolean(_) => Ok(value.to_string()),
            other => Err(Error::invalid(format!("{other} is not the value of an option"))),
        },
        Expr::Identifier(word) => Ok(word.value.clone()),
        other => Err(Error::invalid(format!("{other} is not the value of an option"))),
    }
}
