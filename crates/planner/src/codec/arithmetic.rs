//! Arithmetic that fails on overflow. DataFusion's operators can do that, but its encoding forgets
//! it and its planner never asks for it: integers would wrap around without a word. And `||`, which
//! becomes one with a limit ([`Joined`]).

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr_with_converter;
use datafusion_proto::physical_plan::{
    DeduplicatingProtoConverter, PhysicalExtensionCodec, PhysicalPlanDecodeContext,
    PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_expr_node::ExprType;
use dunlin_proto::plan::checked_arithmetic::Op;
use dunlin_proto::plan::expr_node::Node;
use dunlin_proto::plan::{CheckedArithmetic, ExprNode};
use prost::Message;

use super::joined::Joined;
use super::nodes::external;
use super::scans;

type Expr = Arc<dyn PhysicalExpr>;

/// Encodes additions, subtractions and multiplications as checked ones, and all of a scan's options.
/// Decoding is DataFusion's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked;

impl PhysicalProtoConverterExtension for Checked {
    fn proto_to_execution_plan(
        &self,
        proto: &protobuf::PhysicalPlanNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DeduplicatingProtoConverter {}.proto_to_execution_plan(proto, context)
    }

    fn execution_plan_to_proto(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalPlanNode> {
        let encoded = protobuf::PhysicalPlanNode::try_from_physical_plan_with_converter(
            Arc::clone(plan),
            codec,
            self,
        )?;
        Ok(scans::remember(plan, encoded))
    }

    fn proto_to_physical_expr(
        &self,
        proto: &protobuf::PhysicalExprNode,
        schema: &Schema,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        DeduplicatingProtoConverter {}.proto_to_physical_expr(proto, schema, context)
    }

    fn physical_expr_to_proto(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<protobuf::PhysicalExprNode> {
        let Some((ops, operands)) = chain(expr) else {
            return serialize_physical_expr_with_converter(expr, codec, self);
        };
        let ops = ops.into_iter().map(i32::from).collect();
        let node = ExprNode { node: Some(Node::CheckedArithmetic(CheckedArithmetic { ops })) };
        let inputs = operands.into_iter().map(|e| self.physical_expr_to_proto(e, codec));
        let inputs = inputs.collect::<Result<_>>()?;
        Ok(protobuf::PhysicalExprNode {
            expr_id: expr.expression_id(),
            expr_type: Some(ExprType::Extension(protobuf::PhysicalExtensionExprNode {
                expr: node.encode_to_vec(),
                inputs,
            })),
        })
    }
}

/// Operators and operands of arithmetic, from the left; `None` if it is none.
fn chain(expr: &Expr) -> Option<(Vec<Op>, Vec<&Expr>)> {
    let (mut ops, mut operands) = (Vec::new(), Vec::new());
    let mut rest = expr;
    while let Some((binary, op)) = binary(rest).and_then(|e| Some((e, op_of(e.op())?))) {
        ops.push(op);
        operands.push(binary.right());
        rest = binary.left();
    }
    operands.push(rest);
    ops.reverse();
    operands.reverse();
    (!ops.is_empty()).then_some((ops, operands))
}

fn binary(expr: &Expr) -> Option<&BinaryExpr> {
    expr.downcast_ref::<BinaryExpr>().or_else(|| expr.downcast_ref::<Joined>().map(Joined::inner))
}

/// An expression of ours from its bytes and its decoded children.
pub(super) fn decode(
    bytes: &[u8],
    children: &[Arc<dyn PhysicalExpr>],
) -> Result<Arc<dyn PhysicalExpr>> {
    let node = ExprNode::decode(bytes).map_err(external)?.node;
    let (Some(Node::CheckedArithmetic(node)), [first, others @ ..]) = (node, children) else {
        return internal_err!("an expression of another build");
    };
    if node.ops.len() != others.len() {
        return internal_err!("arithmetic with {} operators, {}", node.ops.len(), children.len());
    }
    let mut left = Arc::clone(first);
    for (op, right) in node.ops.iter().zip(others) {
        let op = Op::try_from(*op).map_err(external)?;
        let binary = BinaryExpr::new(left, operator(op), Arc::clone(right));
        left = if op == Op::Join { Arc::new(Joined::new(binary)) } else { checked(&binary) };
    }
    Ok(left)
}

/// The same arithmetic, failing when a result does not fit.
pub(crate) fn checked(expr: &BinaryExpr) -> Arc<dyn PhysicalExpr> {
    Arc::new(expr.clone().with_fail_on_overflow(true))
}

fn op_of(op: &Operator) -> Option<Op> {
    match op {
        Operator::Plus => Some(Op::Plus),
        Operator::Minus => Some(Op::Minus),
        Operator::Multiply => Some(Op::Multiply),
        Operator::StringConcat => Some(Op::Join),
        _ => None,
    }
}

fn operator(op: Op) -> Operator {
    match op {
        Op::Plus => Operator::Plus,
        Op::Minus => Operator::Minus,
        Op::Multiply => Operator::Multiply,
        Op::Join => Operator::StringConcat,
    }
}
