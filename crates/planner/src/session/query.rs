//! Queries: from a syntax tree to a physical plan.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as Ast;
use datafusion::sql::sqlparser::ast::{ObjectName, Spanned, Statement as Sql, visit_relations};
use dunlin_base::{Error, Result};

use super::tables::tables_of;
use super::{Planned, QueryPlan, Session, Statement, parameters};
use crate::catalog::{CATALOG, Name, Scope, no_schema};
use crate::errors::{Span, at, did_you_mean, in_text};
use crate::functions::{charge, check_added, folding};
use crate::rules::{expanded, weight};
use crate::settings::Settings;

/// The schema of DataFusion's tables about tables.
pub(super) const INFORMATION: &str = "information_schema";

/// Whether a plan is for people too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShowLogical {
    Yes,
    No,
}

impl Session {
    /// A query that is to be run, unless it only asks about tables.
    pub(super) async fn query(
        &self,
        statement: &Statement,
        ast: &Ast,
        show: ShowLogical,
    ) -> Result<Planned> {
        let view = self.view().await?;
        if show == ShowLogical::No
            && let Some(plan) = self.known(statement, &view).await
        {
            return Ok(Planned::Query(Box::new(plan)));
        }
        let scope = self.scope_of(&view);
        let state = scope.state();
        let logical = logical(&scope, &state, statement, ast).await?;
        if reads_information(&logical, &statement.text)? {
            return self.answer(&scope, statement, ast).await;
        }
        let plan = physical(&state, &logical, statement, &view.settings, show).await?;
        if show == ShowLogical::No {
            self.keep(statement, view, scope.used(), &logical, &plan);
        }
        Ok(Planned::Query(Box::new(plan)))
    }

    /// EXPLAIN of a query. The plan is not wrapped: stages are not DataFusion's to show.
    pub(super) async fn explain(
        &self,
        statement: &Statement,
        inner: &Ast,
        (analyze, verbose): (bool, bool),
    ) -> Result<Planned> {
        let is_query = matches!(inner, Ast::Statement(sql) if matches!(**sql, Sql::Query(_)));
        if !is_query {
            return Err(Error::invalid("only queries can be explained"));
        }
        match self.query(statement, inner, ShowLogical::Yes).await? {
            Planned::Query(inner) => Ok(Planned::Explain { analyze, verbose, inner }),
            _ => Err(Error::invalid(
                "queries of information_schema run in the gateway: there are no stages to explain",
            )),
        }
    }
}

/// The physical plan of a logical one.
pub(super) async fn physical(
    state: &SessionState,
    logical: &LogicalPlan,
    statement: &Statement,
    settings: &Settings,
    show: ShowLogical,
) -> Result<QueryPlan> {
    let failed = |e| in_text(&e, &statement.text);
    let optimized = optimized(state, logical).map_err(failed)?;
    let physical = state.query_planner().create_physical_plan(&optimized, state).await;
    let physical = physical.map_err(failed)?;
    Ok(QueryPlan {
        schema: result_schema(logical, &physical),
        logical: match show {
            ShowLogical::Yes => optimized.display_indent().to_string(),
            ShowLogical::No => String::new(),
        },
        settings: settings.clone(),
        tables: tables_of(logical, &physical)?,
        physical,
        graph: Arc::default(),
    })
}

/// The optimised plan, which may take more memory than the plan that it comes from, but not much.
fn optimized(state: &SessionState, logical: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    charge(weight::repeated(logical)?)?;
    let before = weight::constants(logical)?;
    let optimized = folding(|| state.optimize(logical))?;
    // Whatever rules copy beside conditions, and what other functions have made.
    check_added(weight::constants(&optimized)?.saturating_sub(before))?;
    expanded::check(&optimized, state.config().batch_size())?;
    Ok(optimized)
}

/// The columns of the result: names as the user wrote them, types as they really come. An optimizer
/// rule may widen a decimal that the logical plan still has narrow.
fn result_schema(logical: &LogicalPlan, physical: &Arc<dyn ExecutionPlan>) -> SchemaRef {
    let (names, types) = (logical.schema().inner(), physical.schema());
    if names.fields().len() != types.fields().len() {
        return types;
    }
    let field = |(name, kind): (&FieldRef, &FieldRef)| {
        Field::new(name.name(), kind.data_type().clone(), kind.is_nullable())
            .with_metadata(name.metadata().clone())
    };
    let fields: Vec<Field> = names.fields().iter().zip(types.fields()).map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, names.metadata().clone()))
}

/// The logical plan of a statement; unknown tables and columns with their place and a suggestion.
pub(super) async fn logical(
    scope: &Scope,
    state: &SessionState,
    statement: &Statement,
    ast: &Ast,
) -> Result<LogicalPlan> {
    let plan = unbound(scope, state, statement, ast).await?;
    parameters::bind(plan, statement)
}

/// [`logical`] without values for parameters.
pub(super) async fn unbound(
    scope: &Scope,
    state: &SessionState,
    statement: &Statement,
    ast: &Ast,
) -> Result<LogicalPlan> {
    if let Some(error) = unknown_table(scope, state, statement, ast)? {
        return Err(error);
    }
    let plan = state.statement_to_plan(ast.clone()).await;
    plan.map_err(|e| in_text(&e, &statement.text))
}

pub(super) fn unknown_table(
    scope: &Scope,
    state: &SessionState,
    statement: &Statement,
    ast: &Ast,
) -> Result<Option<Error>> {
    let references = state.resolve_table_references(ast);
    for reference in references.map_err(|e| in_text(&e, &statement.text))? {
        // `generate_series(1, 9)` looks like a table, but has arguments.
        let function = matches!(&reference, TableReference::Bare { table }
            if state.table_functions().contains_key(table.as_ref()));
        if function {
            continue;
        }
        let Err(error) = find(scope, state, &reference) else { continue };
        return Ok(Some(match place(ast, state, &reference) {
            Some(span) => at(error, &statement.text, span),
            None => error,
        }));
    }
    Ok(None)
}

/// The name that a reference stands for. `Invalid`: a catalog that is not there.
pub(super) fn name_of(state: &SessionState, reference: &TableReference) -> Result<Name> {
    let catalog = reference.catalog().unwrap_or(CATALOG);
    if catalog != CATALOG {
        return Err(Error::invalid(format!("there is no catalog '{catalog}'"))
            .with_hint(format!("there is one: '{CATALOG}'")));
    }
    let default = &state.config_options().catalog.default_schema;
    let schema = reference.schema().unwrap_or(default);
    Ok(Name::object(schema, reference.table()))
}

fn find(scope: &Scope, state: &SessionState, reference: &TableReference) -> Result<()> {
    let name = name_of(state, reference)?;
    let object = reference.table();
    if name.schema == INFORMATION || scope.find(&name.schema, object).is_some() {
        return Ok(());
    }
    if !scope.snapshot().has_schema(&name.schema) {
        return Err(no_schema(&name.schema, scope.snapshot()));
    }
    // The same for tables that the user may not see.
    let error = Error::invalid(match scope.rights().limited() {
        None => format!("unknown table '{reference}'"),
        Some(user) => format!("unknown table '{reference}', or user '{user}' has no SELECT on it"),
    });
    let names = scope.names_in(&name.schema);
    let hint = did_you_mean(object, "there are", &names).or_else(|| {
        let upper = object.chars().any(char::is_uppercase);
        upper.then(|| "names in double quotes keep their capital letters".to_owned())
    });
    Err(match hint {
        Some(hint) => error.with_hint(hint),
        None => error.with_hint("there are no tables yet: CREATE EXTERNAL TABLE makes one"),
    })
}

/// Where a table is first named.
fn place(ast: &Ast, state: &SessionState, wanted: &TableReference) -> Option<Span> {
    let Ast::Statement(sql) = ast else { return None };
    let normalize = state.config_options().sql_parser.enable_ident_normalization;
    let mut found = None;
    let _ = visit_relations(sql, |name: &ObjectName| {
        let text = name.to_string();
        let this =
            if normalize { TableReference::parse_str(&text) } else { TableReference::from(text) };
        if this == *wanted {
            found = Span::from_parser(name.span());
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    });
    found
}

/// Whether a plan reads tables about tables, in itself, a view or a subquery.
pub(super) fn reads_information(plan: &LogicalPlan, text: &str) -> Result<bool> {
    let mut reads = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.schema() == Some(INFORMATION)
        {
            reads = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|e| in_text(&e, text))?;
    Ok(reads)
}
