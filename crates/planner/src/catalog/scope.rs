//! The catalog as DataFusion sees it while it plans one statement.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider};
use datafusion::common::config::SqlParserOptions;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::{TableProvider, TableType, ViewTable};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::DFParserBuilder;
use dunlin_base::{Error, Result};
use dunlin_proto::catalog::v1;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::definition::PUBLIC;
use super::folder::Overlay;
use super::table::{Reading, resolve};
use super::{CATALOG, Definition, Entry, Name, Privilege, Rights, Snapshot};
use crate::errors::{in_text, into_datafusion};
use crate::object_stores::ObjectStores;
use crate::session::{RECURSION_MAX, lasting};

/// Views that may be on top of each other.
const VIEW_DEPTH_MAX: usize = 32;

/// What a statement sees.
pub(crate) struct ScopeParts {
    pub(crate) rights: Rights,
    /// Tables of folders, laid over `public`; the first that has a name wins.
    pub(crate) overlays: Vec<Arc<Overlay>>,
    /// The session's state, without a catalog.
    pub(crate) base: SessionState,
    pub(crate) stores: Arc<ObjectStores>,
    pub(crate) engine: Vec<(String, String)>,
}

/// What a statement has used of its scope.
#[derive(Debug)]
pub(crate) struct Used {
    /// Tables of files, as they were resolved.
    pub(crate) tables: Vec<(Arc<Entry>, Arc<ListingTable>)>,
    /// Tables and views that the statement itself names.
    pub(crate) reads: Vec<Arc<Entry>>,
    /// No view that was used depends on when it is used.
    pub(crate) lasting: bool,
}

impl Used {
    fn nothing() -> Self {
        Self { tables: Vec::new(), reads: Vec::new(), lasting: true }
    }
}

/// [`ScopeParts`] and the views that are being planned.
#[derive(Clone)]
pub(crate) struct Scope {
    parts: Arc<ScopeParts>,
    used: Arc<Mutex<Used>>,
    views: Vec<Name>,
    /// The user's; in a view its owner's.
    rights: Rights,
    /// The table that the statement writes: planning looks at it though nothing is read.
    target: Option<Name>,
    /// Tables that cannot be read are left out instead of failing: for `information_schema`.
    lenient: bool,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("views", &self.views).finish_non_exhaustive()
    }
}

impl Scope {
    pub(crate) fn new(parts: ScopeParts) -> Self {
        let rights = parts.rights.clone();
        Self {
            parts: Arc::new(parts),
            used: Arc::new(Mutex::new(Used::nothing())),
            views: Vec::new(),
            rights,
            target: None,
            lenient: false,
        }
    }

    /// The same scope, leaving out what cannot be read.
    pub(crate) fn lenient(&self) -> Self {
        Self { lenient: true, ..self.clone() }
    }

    /// The scope inside a view, so that a view that reads itself is found.
    pub(crate) fn inside(&self, view: &Name) -> Self {
        let mut inner = self.clone();
        inner.views.push(view.clone());
        inner
    }

    /// The scope of a statement that writes a table.
    pub(crate) fn writing(&self, target: &Name) -> Self {
        Self { target: Some(target.clone()), ..self.clone() }
    }

    /// What was used so far, for once.
    pub(crate) fn used(&self) -> Used {
        std::mem::replace(&mut *self.used.lock(), Used::nothing())
    }

    /// The catalog as the user sees it.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        self.rights.seen()
    }

    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// A state that plans in this scope.
    pub(crate) fn state(&self) -> SessionState {
        let mut state = self.parts.base.clone();
        state.register_catalog_list(Arc::new(self.clone()));
        state
    }

    pub(crate) fn find(&self, schema: &str, object: &str) -> Option<&Arc<Entry>> {
        if schema == PUBLIC
            && let Some(entry) = self.parts.overlays.iter().find_map(|o| o.get(object))
        {
            return Some(entry);
        }
        self.snapshot().get(&Name::object(schema, object))
    }

    /// Names of tables and views in a schema, sorted.
    pub(crate) fn names_in(&self, schema: &str) -> Vec<String> {
        let mut names = self.snapshot().names_in(schema);
        if schema == PUBLIC {
            names.extend(self.parts.overlays.iter().flat_map(|o| o.keys().cloned()));
        }
        names.sort();
        names.dedup();
        names
    }

    /// The DataFusion table of an entry that is read: `Invalid` if the user may not.
    pub(crate) async fn readable(&self, entry: &Arc<Entry>) -> Result<Arc<dyn TableProvider>> {
        let outermost = self.views.is_empty();
        if !outermost || self.target.as_ref() != Some(&entry.name) {
            self.rights.check_entry(Privilege::Select, entry)?;
        }
        if outermost {
            self.used.lock().reads.push(Arc::clone(entry));
        }
        self.provider(entry).await
    }

    /// The DataFusion table of an entry, whoever may read it. Errors name what cannot be read.
    pub(crate) async fn provider(&self, entry: &Arc<Entry>) -> Result<Arc<dyn TableProvider>> {
        match &entry.definition {
            Definition::Table(_) => {
                let reading = Reading {
                    state: &self.parts.base,
                    stores: &self.parts.stores,
                    engine: &self.parts.engine,
                };
                let name = &entry.name;
                let table = resolve(entry, &reading).await;
                let table = table.map_err(|e| e.context(format!("table '{name}'")))?;
                self.used.lock().tables.push((Arc::clone(entry), Arc::clone(&table)));
                Ok(table)
            }
            Definition::View(view) => {
                let owner = Self { rights: self.rights.of_owner(&entry.access), ..self.clone() };
                let plan = owner.view(&entry.name, view).await;
                let plan = plan.map_err(|error| self.about_view(entry, error))?;
                self.used.lock().lasting &= lasting(&plan);
                let text = self.owns(entry).then(|| view.sql.clone());
                Ok(Arc::new(ViewTable::new(plan, text)))
            }
            Definition::Schema | Definition::Catalog => {
                Err(Error::bug(format!("'{}' is no table", entry.name)))
            }
        }
    }

    fn owns(&self, entry: &Entry) -> bool {
        self.rights.owns(&entry.name, &entry.access)
    }

    /// What is told of an error in a view: all of it to who owns the view, since it names what the
    /// reader may know nothing of.
    fn about_view(&self, entry: &Entry, error: Error) -> Error {
        let name = &entry.name;
        if self.owns(entry) {
            return error.context(format!("view '{name}'"));
        }
        tracing::debug!(view = %name, %error, "a view cannot be read");
        Error::new(error.kind(), format!("view '{name}' cannot be read"))
            .with_hint("its owner is told why")
    }

    /// A state that plans a view: the same for all readers, whatever they have set for the parser.
    pub(crate) fn view_state(&self, name: &Name, default_schema: &str) -> SessionState {
        let mut state = self.inside(name).state();
        let options = state.config_mut().options_mut();
        default_schema.clone_into(&mut options.catalog.default_schema);
        options.sql_parser = SqlParserOptions {
            collect_spans: options.sql_parser.collect_spans,
            ..SqlParserOptions::default()
        };
        state
    }

    async fn view(&self, name: &Name, view: &v1::View) -> Result<LogicalPlan> {
        if self.views.contains(name) {
            return Err(Error::invalid("it reads itself"));
        }
        if self.views.len() >= VIEW_DEPTH_MAX {
            return Err(Error::invalid(format!("more than {VIEW_DEPTH_MAX} views on each other")));
        }
        let state = self.view_state(name, &view.default_schema);
        let failed = |e: DataFusionError| in_text(&e, &view.query);
        let statement = DFParserBuilder::new(view.query.as_str())
            .with_recursion_limit(RECURSION_MAX)
            .build()
            .and_then(|mut parser| parser.parse_statement())
            .map_err(failed)?;
        let plan = state.statement_to_plan(statement).await.map_err(failed)?;
        rename(plan, &view.columns).map_err(failed)
    }
}

/// Gives the columns of a view its own names.
pub(crate) fn rename(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan, DataFusionError> {
    if names.is_empty() {
        return Ok(plan);
    }
    let (has, named) = (plan.schema().fields().len(), names.len());
    if has != named {
        let error = format!("the view names {named} columns, but its query has {has}");
        return Err(into_datafusion(Error::invalid(error)));
    }
    let columns = plan.schema().columns();
    let renamed = columns
        .into_iter()
        .zip(names)
        .map(|(column, name)| datafusion::logical_expr::Expr::Column(column).alias(name));
    LogicalPlanBuilder::from(plan).project(renamed.collect::<Vec<_>>())?.build()
}

impl CatalogProviderList for Scope {
    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::new(self.clone()) as _)
    }
}

impl CatalogProvider for Scope {
    fn schema_names(&self) -> Vec<String> {
        self.snapshot().schemas()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let known = self.snapshot().has_schema(name);
        known.then(|| Arc::new(ScopeSchema { scope: self.clone(), name: name.to_owned() }) as _)
    }
}

/// One schema of a scope.
#[derive(Debug)]
struct ScopeSchema {
    scope: Scope,
    name: String,
}

/// The provider of a table, if there is one of that name. Outside of the trait, which would have
/// the compiler prove anew that the future may change threads, through all of DataFusion's types.
fn table_in(
    scope: Scope,
    schema: String,
    name: String,
) -> BoxFuture<'static, Result<Option<Arc<dyn TableProvider>>, DataFusionError>> {
    async move {
        let Some(entry) = scope.find(&schema, &name) else { return Ok(None) };
        match scope.readable(entry).await {
            Ok(table) => Ok(Some(table)),
            Err(error) if scope.lenient => {
                tracing::debug!(table = %entry.name, %error, "left out of information_schema");
                Ok(None)
            }
            Err(error) => Err(into_datafusion(error)),
        }
    }
    .boxed()
}

#[async_trait]
impl SchemaProvider for ScopeSchema {
    fn table_names(&self) -> Vec<String> {
        self.scope.names_in(&self.name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let found = table_in(self.scope.clone(), self.name.clone(), name.to_owned());
        found.await
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>, DataFusionError> {
        Ok(self.scope.find(&self.name, name).map(|entry| match entry.definition {
            Definition::View(_) => TableType::View,
            Definition::Table(_) | Definition::Schema | Definition::Catalog => TableType::Base,
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.scope.find(&self.name, name).is_some()
    }
}
