//! What each kind of statement is, and DDL.

use std::sync::Arc;

use datafusion::logical_expr::{CreateExternalTable, DdlStatement, Expr, LogicalPlan};
use datafusion::sql::parser::Statement as Ast;
use datafusion::sql::sqlparser::ast::{CreateView, ObjectType, Statement as Sql};
use dunlin_base::{Error, Result, Revision};
use dunlin_proto::catalog::v1;

use super::query::ShowLogical;
use super::{Planned, Session, Statement, grants, query};
use crate::catalog::{
    Access, Definition, Entry, Existing, Format, Name, Scope, Stored, check_may_create,
    drop_object, drop_schema, encode_schema, put, rename, store_spec,
};
use crate::errors::in_text;

impl Session {
    /// Does, or plans, one statement.
    pub(super) async fn dispatch(&self, statement: &Statement) -> Result<Planned> {
        match &*statement.ast {
            Ast::Statement(sql) => self.sql(statement, sql).await,
            Ast::CreateExternalTable(_) => self.create_table(statement).await,
            Ast::Explain(explain) => {
                let options = &explain.options;
                let flags = (options.analyze, options.verbose);
                self.explain(statement, &explain.statement, flags).await
            }
            Ast::Reset(_) => self.set(statement, &statement.ast).await,
            Ast::CopyTo(copy) => self.copy(statement, copy).await,
        }
    }

    async fn sql(&self, statement: &Statement, sql: &Sql) -> Result<Planned> {
        match sql {
            Sql::Query(_) => self.query(statement, &statement.ast, ShowLogical::No).await,
            Sql::ShowTables { show_options, .. } if show_options.to_string().is_empty() => {
                self.show_tables().await
            }
            Sql::ShowSchemas { .. } => self.show_schemas().await,
            Sql::ShowVariable { variable } if grants::are_meant(variable) => {
                self.show_grants(variable).await
            }
            Sql::ShowTables { .. }
            | Sql::ShowColumns { .. }
            | Sql::ShowVariable { .. }
            | Sql::ShowFunctions { .. }
            | Sql::ShowCreate { .. }
            | Sql::Explain { .. }
            | Sql::ExplainTable { .. } => self.show(statement, &statement.ast).await,
            Sql::Set(_) => self.set(statement, &statement.ast).await,
            Sql::Insert(insert) => self.insert(statement, insert).await,
            Sql::CreateTable(create) if create.query.is_some() => {
                self.create_table_as(statement, create).await
            }
            Sql::CreateView(view) => self.create_view(statement, view).await,
            Sql::Grant(grant) => self.grant(grant).await,
            Sql::Revoke(revoke) => self.revoke(revoke).await,
            Sql::CreateSchema { .. } | Sql::Drop { .. } => {
                self.create_or_drop(statement, sql).await
            }
            // One statement is all there can be in a transaction: it sees one snapshot as it is.
            Sql::StartTransaction { .. } => Ok(Planned::Done("BEGIN".to_owned())),
            Sql::Commit { .. } => Ok(Planned::Done("COMMIT".to_owned())),
            Sql::Rollback { .. } => Ok(Planned::Done("ROLLBACK".to_owned())),
            other => Err(unsupported(&verb(other))),
        }
    }

    async fn create_view(&self, statement: &Statement, view: &CreateView) -> Result<Planned> {
        if view.materialized || view.temporary {
            return Err(unsupported("a materialized or temporary view"));
        }
        let existing = existing(view.if_not_exists, view.or_replace)?;
        let scope = self.scope().await?;
        let reference = view.name.to_string();
        let state = scope.state();
        let name =
            query::name_of(&state, &datafusion::common::TableReference::parse_str(&reference))?;
        check_may_create(scope.rights(), &name)?;
        // Planned as if inside the view, so that one that reads itself is refused.
        let inside = scope.inside(&name);
        let default_schema = state.config_options().catalog.default_schema.clone();
        let ast = Ast::Statement(Box::new(Sql::Query(view.query.clone())));
        let view_state = scope.view_state(&name, &default_schema);
        let plan = query::logical(&inside, &view_state, statement, &ast).await?;
        let columns: Vec<String> = view.columns.iter().map(|c| identifier(&c.name)).collect();
        rename(plan, &columns).map_err(|e| in_text(&e, &statement.text))?;
        let definition = v1::View {
            query: view.query.to_string(),
            columns,
            sql: statement.sql().to_owned(),
            default_schema,
        };
        let store = self.planner.catalog.store().as_ref();
        let definition = Definition::View(definition);
        let done = put(store, scope.rights(), &name, definition, existing).await?;
        Ok(created("CREATE VIEW", &name, done))
    }

    async fn create_or_drop(&self, statement: &Statement, sql: &Sql) -> Result<Planned> {
        if let Sql::Drop { object_type, names, .. } = sql {
            let known = [ObjectType::Table, ObjectType::View, ObjectType::Schema];
            if !known.contains(object_type) {
                return Err(unsupported(&format!("DROP {object_type}")));
            }
            if names.len() > 1 {
                return Err(
                    Error::invalid("one DROP drops one object").with_hint("write a DROP for each")
                );
            }
        }
        let scope = self.scope().await?;
        let state = scope.state();
        // Not `query::logical`: the object of DROP IF EXISTS need not exist.
        let plan = state.statement_to_plan((*statement.ast).clone()).await;
        let LogicalPlan::Ddl(ddl) = plan.map_err(|e| in_text(&e, &statement.text))? else {
            return Err(Error::bug("DDL was planned as something else"));
        };
        let rights = scope.rights();
        let store = self.planner.catalog.store().as_ref();
        match ddl {
            DdlStatement::CreateCatalogSchema(create) => {
                let name = schema_name(&create.schema_name)?;
                let existing = existing(create.if_not_exists, false)?;
                let done = put(store, rights, &name, Definition::Schema, existing).await?;
                Ok(created("CREATE SCHEMA", &name, done))
            }
            DdlStatement::DropTable(drop) => {
                let name = query::name_of(&state, &drop.name)?;
                refuse_folder_table(&scope, &name)?;
                let done = drop_object(store, rights, &name, "table", drop.if_exists).await?;
                Ok(dropped("DROP TABLE", &name, done))
            }
            DdlStatement::DropView(drop) => {
                let name = query::name_of(&state, &drop.name)?;
                let done = drop_object(store, rights, &name, "view", drop.if_exists).await?;
                Ok(dropped("DROP VIEW", &name, done))
            }
            DdlStatement::DropCatalogSchema(drop) => {
                let name = schema_name(drop.name.schema_name())?;
                let (if_exists, cascade) = (drop.if_exists, drop.cascade);
                let done = drop_schema(store, rights, &name.schema, if_exists, cascade).await?;
                Ok(dropped("DROP SCHEMA", &name, done))
            }
            other => Err(unsupported(other.name())),
        }
    }

    async fn create_table(&self, statement: &Statement) -> Result<Planned> {
        let scope = self.scope().await?;
        let state = scope.state();
        let plan = state.statement_to_plan((*statement.ast).clone()).await;
        let plan = plan.map_err(|e| in_text(&e, &statement.text))?;
        let LogicalPlan::Ddl(DdlStatement::CreateExternalTable(create)) = plan else {
            return Err(Error::bug("CREATE EXTERNAL TABLE was planned as something else"));
        };
        let existing = existing(create.if_not_exists, create.or_replace)?;
        let name = query::name_of(&state, &create.name)?;
        refuse_folder_table(&scope, &name)?;
        check_may_create(scope.rights(), &name)?;
        // Else a table over another's files would be a way around its grants.
        scope.rights().check_create()?;
        let table = external_table(&create)?;
        check_store(&scope, &name, &table)?;
        let said = store_spec(&table)?.map(|spec| self.planner.stores.tentative(spec));
        let definition = Definition::Table(Box::new(table));
        let stored = Stored {
            name: name.clone(),
            definition: definition.clone(),
            access: Access::default(),
            revision: Revision::default(),
        };
        let kept = existing == Existing::Keep && scope.snapshot().get(&name).is_some();
        if !kept {
            // Its files are looked at before anybody else sees the table.
            scope.provider(&Entry::new(stored)).await?;
        }
        let store = self.planner.catalog.store().as_ref();
        let done = put(store, scope.rights(), &name, definition, existing).await?;
        if let Some(said) = said.filter(|_| done) {
            said.keep();
        }
        Ok(created("CREATE EXTERNAL TABLE", &name, done))
    }
}

fn external_table(create: &CreateExternalTable) -> Result<v1::ExternalTable> {
    if create.temporary || create.unbounded {
        return Err(unsupported("a temporary or unbounded table"));
    }
    if !create.column_defaults.is_empty() {
        return Err(unsupported("DEFAULT of a column"));
    }
    let format = Format::parse(&create.file_type)?;
    let mut options: Vec<_> = create
        .options
        .iter()
        .map(|(key, value)| v1::Option { key: key.clone(), value: value.clone() })
        .collect();
    options.sort_by(|a, b| a.key.cmp(&b.key));
    let schema = create.schema.as_arrow();
    let schema =
        if schema.fields().is_empty() { bytes::Bytes::new() } else { encode_schema(schema)? };
    let location = |text: &String| {
        // Another process has another working folder.
        let path = std::path::Path::new(text);
        match std::path::absolute(path) {
            Ok(absolute) if !text.contains("://") => {
                let slash = if text.ends_with('/') { "/" } else { "" };
                format!("{}{slash}", absolute.display().to_string().trim_end_matches('/'))
            }
            _ => text.clone(),
        }
    };
    Ok(v1::ExternalTable {
        locations: create.locations.iter().map(location).collect(),
        format: format.name().to_owned(),
        options,
        partition_columns: create.table_partition_cols.clone(),
        orders: create.order_exprs.iter().map(|by| order(by)).collect::<Result<_>>()?,
        schema,
        // Without its options, which may be secret.
        sql: create.definition.clone().unwrap_or_default(),
    })
}

fn order(by: &[datafusion::logical_expr::SortExpr]) -> Result<v1::Order> {
    let column = |sort: &datafusion::logical_expr::SortExpr| match &sort.expr {
        Expr::Column(column) => Ok(v1::OrderColumn {
            column: column.name.clone(),
            descending: !sort.asc,
            nulls_first: sort.nulls_first,
        }),
        other => Err(Error::invalid(format!("WITH ORDER takes columns, not '{other}'"))),
    };
    Ok(v1::Order { columns: by.iter().map(column).collect::<Result<_>>()? })
}

/// One bucket is reached in one way: two would take turns at breaking each other.
pub(super) fn check_store(scope: &Scope, name: &Name, table: &v1::ExternalTable) -> Result<()> {
    let Some(spec) = store_spec(table)? else { return Ok(()) };
    for entry in scope.rights().all().entries().filter(|entry| entry.name != *name) {
        let Definition::Table(other) = &entry.definition else { continue };
        let Ok(Some(other)) = store_spec(other) else { continue };
        if other.url == spec.url && other.options != spec.options {
            let seen = scope.snapshot().get(&entry.name).is_some();
            let table = if seen { format!("table '{}'", entry.name) } else { "a table".to_owned() };
            return Err(Error::invalid(format!("{table} reaches {} with other options", spec.url))
                .with_hint("all tables of one store share its options: give the same, or none"));
        }
    }
    Ok(())
}

pub(super) fn refuse_folder_table(scope: &Scope, name: &Name) -> Result<()> {
    let object = name.object.as_deref().unwrap_or_default();
    let shown: Option<&Arc<Entry>> = scope.find(&name.schema, object);
    let in_catalog = scope.snapshot().get(name);
    match (shown, in_catalog) {
        (Some(shown), kept) if kept.is_none_or(|kept| !Arc::ptr_eq(kept, shown)) => {
            Err(Error::invalid(format!("table '{name}' is a file of the folder that was opened")))
        }
        _ => Ok(()),
    }
}

fn existing(if_not_exists: bool, or_replace: bool) -> Result<Existing> {
    match (if_not_exists, or_replace) {
        (true, true) => Err(Error::invalid("OR REPLACE and IF NOT EXISTS exclude each other")),
        (true, false) => Ok(Existing::Keep),
        (false, true) => Ok(Existing::Replace),
        (false, false) => Ok(Existing::Fail),
    }
}

/// `dunlin.lab` and `lab` are the same schema.
pub(super) fn schema_name(text: &str) -> Result<Name> {
    let prefix = format!("{}.", crate::catalog::CATALOG);
    let schema = text.strip_prefix(&prefix).unwrap_or(text);
    match schema {
        query::INFORMATION => Err(Error::invalid(format!("schema '{schema}' is built in"))),
        "" => Err(Error::invalid("the name of a schema is empty")),
        schema => Ok(Name::schema(schema)),
    }
}

pub(super) fn identifier(ident: &datafusion::sql::sqlparser::ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn created(verb: &str, name: &Name, done: bool) -> Planned {
    let note = if done { String::new() } else { format!(" ('{name}' was there already)") };
    Planned::Done(format!("{verb}{note}"))
}

fn dropped(verb: &str, name: &Name, done: bool) -> Planned {
    let note = if done { String::new() } else { format!(" ('{name}' was not there)") };
    Planned::Done(format!("{verb}{note}"))
}

pub(super) fn unsupported(what: &str) -> Error {
    Error::invalid(format!("{what} is not supported yet")).with_hint(
        "there are SELECT, EXPLAIN, SHOW, SET, INSERT, COPY, CREATE TABLE AS, GRANT, REVOKE, and \
         CREATE and DROP of tables, views and schemas",
    )
}

/// The first word of a statement, two for CREATE and ALTER.
fn verb(sql: &Sql) -> String {
    let text = sql.to_string();
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    match first {
        "CREATE" | "ALTER" | "DROP" => format!("{first} {}", words.next().unwrap_or_default()),
        _ => first.to_owned(),
    }
}
