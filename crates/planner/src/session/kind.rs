//! What a statement is, seen without planning it: doors decide by it how to answer.

use datafusion::sql::parser::Statement as Ast;
use datafusion::sql::sqlparser::ast::Statement as Sql;

use super::Statement;

/// What running a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// It yields rows and changes nothing.
    Rows,
    /// It yields none, and may change the catalog.
    Change,
    /// It changes the session's options.
    Session,
}

impl Statement {
    /// What running it does.
    pub fn kind(&self) -> StatementKind {
        match &*self.ast {
            Ast::Explain(_) => StatementKind::Rows,
            Ast::Reset(_) => StatementKind::Session,
            Ast::CreateExternalTable(_) | Ast::CopyTo(_) => StatementKind::Change,
            Ast::Statement(sql) => match sql.as_ref() {
                Sql::Query(_)
                | Sql::ShowTables { .. }
                | Sql::ShowSchemas { .. }
                | Sql::ShowColumns { .. }
                | Sql::ShowVariable { .. }
                | Sql::ShowFunctions { .. }
                | Sql::ShowCreate { .. }
                | Sql::Explain { .. }
                | Sql::ExplainTable { .. } => StatementKind::Rows,
                Sql::Set(_) => StatementKind::Session,
                _ => StatementKind::Change,
            },
        }
    }

    /// Whether it writes files: INSERT, CREATE TABLE AS, COPY.
    pub fn writes(&self) -> bool {
        match &*self.ast {
            Ast::CopyTo(_) => true,
            Ast::Statement(sql) => match sql.as_ref() {
                Sql::Insert(_) => true,
                Sql::CreateTable(create) => create.query.is_some(),
                _ => false,
            },
            _ => false,
        }
    }

    /// EXPLAIN, with or without ANALYZE.
    pub(super) fn is_explain(&self) -> bool {
        matches!(&*self.ast, Ast::Explain(_))
    }

    /// A plain query: neither EXPLAIN nor SHOW.
    pub(super) fn is_query(&self) -> bool {
        matches!(&*self.ast, Ast::Statement(sql) if matches!(sql.as_ref(), Sql::Query(_)))
    }
}
