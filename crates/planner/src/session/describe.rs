//! What a statement takes and gives, found without running it: for prepared statements.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use dunlin_base::{Error, Result};

use super::{Planned, Session, Statement, StatementKind, query, stack};
use crate::errors::in_text;

/// What a statement takes and gives.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its parameters, named `$1` and so on. Where no type can be inferred it is text: values of
    /// other types are taken too.
    pub parameters: SchemaRef,
    /// Its columns; `None` if it yields no rows. A decimal may turn out wider when it is run.
    pub result: Option<SchemaRef>,
}

impl Session {
    /// Describes a statement. Changes nothing; reads listings and footers as planning does. Errors
    /// as for [`Session::plan`].
    pub async fn describe(&self, statement: &Statement) -> Result<Description> {
        stack::Deep::new(Box::pin(self.describe_now(statement))).await
    }

    async fn describe_now(&self, statement: &Statement) -> Result<Description> {
        if statement.kind() != StatementKind::Rows {
            return Ok(Description { parameters: Arc::new(Schema::empty()), result: None });
        }
        if statement.is_query() {
            return self.describe_query(statement).await;
        }
        let parameters = text_parameters(statement);
        if statement.is_explain() {
            let column = Field::new("plan", DataType::Utf8, false);
            let result = Some(Arc::new(Schema::new(vec![column])));
            return Ok(Description { parameters, result });
        }
        match self.dispatch(statement).await? {
            Planned::Local(_, schema) => Ok(Description { parameters, result: Some(schema) }),
            _ => Err(Error::bug("SHOW is answered where it is planned")),
        }
    }

    async fn describe_query(&self, statement: &Statement) -> Result<Description> {
        let scope = self.scope().await?;
        let state = scope.state();
        let plan = query::unbound(&scope, &state, statement, &statement.ast).await?;
        let mut types = plan.get_parameter_types().map_err(|e| in_text(&e, &statement.text))?;
        for (name, kind) in cast_types(&plan).map_err(|e| in_text(&e, &statement.text))? {
            types.entry(name).or_default().get_or_insert(kind);
        }
        let parameter = |number: usize| {
            let name = format!("${number}");
            let kind = types.get(&name).cloned().flatten().unwrap_or(DataType::Utf8);
            Field::new(name, kind, true)
        };
        let parameters: Vec<Field> = (1..=statement.parameters()).map(parameter).collect();
        Ok(Description {
            parameters: Arc::new(Schema::new(parameters)),
            result: Some(Arc::clone(plan.schema().inner())),
        })
    }
}

/// The types that parameters are cast to at once: DataFusion infers none for them, and a client that
/// is told text will not take a number.
fn cast_types(plan: &LogicalPlan) -> Result<Vec<(String, DataType)>, DataFusionError> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Expr::Placeholder(parameter) = cast.expr.as_ref()
                {
                    found.push((parameter.id.clone(), cast.field.data_type().clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn text_parameters(statement: &Statement) -> SchemaRef {
    let text = |number: usize| Field::new(format!("${number}"), DataType::Utf8, true);
    Arc::new(Schema::new((1..=statement.parameters()).map(text).collect::<Vec<_>>()))
}
