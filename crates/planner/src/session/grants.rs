//! GRANT, REVOKE and SHOW GRANTS: who is given what, and by whom.
//!
//! The one thing to know: a grant is part of its object's record, written by compare-and-swap, so of
//! two at the same time both count.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{
    Action, Grant, GrantObjects, Grantee, GranteeName, GranteesType, Ident, ObjectName,
    Privileges as Asked, Revoke,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use dunlin_base::{Error, Result};

use super::ddl::{identifier, schema_name, unsupported};
use super::{Planned, Session, query};
use crate::catalog::{
    ATTEMPTS, CATALOG, Definition, Name, Object, PUBLIC, Privilege, Privileges, Rights, Scope,
    Stored, Swapped, missing, no_schema, schema_gone,
};

/// How all users are called.
const EVERYBODY: &str = "public";

/// What a GRANT or REVOKE says.
struct Change {
    name: Name,
    /// What the statement takes the object for.
    kind: &'static str,
    privileges: Privileges,
    /// Empty names are all users.
    users: Vec<String>,
    give: bool,
}

impl Session {
    /// GRANT. `Invalid`: no such object or user, privileges that the object does not have, a user
    /// who may not grant.
    pub(super) async fn grant(&self, grant: &Grant) -> Result<Planned> {
        let more = grant.with_grant_option
            || grant.as_grantor.is_some()
            || grant.granted_by.is_some()
            || grant.current_grants.is_some();
        if more {
            return Err(unsupported("GRANT with further clauses"));
        }
        let said = (&grant.privileges, grant.objects.as_ref(), grant.grantees.as_slice());
        self.change_access(said, true).await
    }

    /// REVOKE, as [`Session::grant`]. What was not granted is no error.
    pub(super) async fn revoke(&self, revoke: &Revoke) -> Result<Planned> {
        if revoke.granted_by.is_some() || revoke.cascade.is_some() {
            return Err(unsupported("REVOKE with further clauses"));
        }
        let said = (&revoke.privileges, revoke.objects.as_ref(), revoke.grantees.as_slice());
        self.change_access(said, false).await
    }

    async fn change_access(
        &self,
        (asked, objects, grantees): (&Asked, Option<&GrantObjects>, &[Grantee]),
        give: bool,
    ) -> Result<Planned> {
        let scope = self.scope().await?;
        let (name, kind) = object(&scope, objects)?;
        let users = grantees.iter().map(grantee).collect::<Result<Vec<_>>>()?;
        let known = scope.rights().all().users();
        if give && let Some(user) = users.iter().find(|u| !u.is_empty() && !known.contains_key(*u))
        {
            return Err(Error::invalid(format!("there is no user '{user}'"))
                .with_hint("dunlin users set makes one"));
        }
        let current = found(&scope, &name, kind)?;
        let is = current.as_ref().map_or(kind, |stored| stored.definition.kind());
        let privileges = privileges(asked, is, give)?;
        let change = Change { name, kind: is, privileges, users, give };
        self.swap_access(scope.rights(), &change, current).await?;
        Ok(Planned::Done(if give { "GRANT" } else { "REVOKE" }.to_owned()))
    }

    async fn swap_access(
        &self,
        rights: &Rights,
        change: &Change,
        mut current: Option<Stored>,
    ) -> Result<()> {
        let Change { name, kind, .. } = change;
        let store = self.planner.catalog.store();
        for _ in 0..ATTEMPTS {
            let before = match &current {
                Some(stored) => {
                    Object { definition: stored.definition.clone(), access: stored.access.clone() }
                }
                // These two always exist, with a record or without.
                None if name.is_catalog() => Definition::Catalog.into(),
                None if *name == Name::schema(PUBLIC) => Definition::Schema.into(),
                None => return Err(missing(name, kind, rights)),
            };
            if !rights.owns(name, &before.access) {
                let user = rights.limited().unwrap_or_default();
                return Err(Error::invalid(format!("user '{user}' does not own {kind} '{name}'"))
                    .with_hint("owners and administrators grant and revoke"));
            }
            let mut after = before.clone();
            for user in &change.users {
                match change.give {
                    true => after.access.grant(user, change.privileges),
                    false => after.access.revoke(user, change.privileges),
                }
            }
            if after == before {
                return Ok(());
            }
            let expected = current.as_ref().map(|stored| stored.revision);
            match store.swap(name, expected, Some(after)).await? {
                Swapped::Done => return Ok(()),
                Swapped::Conflict(there) => current = there,
                // Only what removes a schema hears that it is not empty.
                Swapped::NoSchema | Swapped::NotEmpty => return Err(schema_gone(&name.schema)),
            }
        }
        Err(Error::retry(format!("'{name}' is being changed by others")))
    }

    /// SHOW GRANTS [FOR user]: those to the user itself and to all, and those on what it owns;
    /// administrators see all.
    pub(super) async fn show_grants(&self, words: &[Ident]) -> Result<Planned> {
        let only = match words {
            [_] => None,
            [_, word, user] if word.value.eq_ignore_ascii_case("for") => Some(identifier(user)),
            _ => return Err(Error::invalid("write SHOW GRANTS, or SHOW GRANTS FOR user")),
        };
        let scope = self.scope().await?;
        let rows = rows(scope.rights(), only.as_deref());
        let names = ["grantee", "privilege", "kind", "object"];
        let field = |name: &str| Field::new(name, DataType::Utf8, false);
        let schema = Arc::new(Schema::new(names.map(field).to_vec()));
        let column = |at: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row[at].as_str())))
        };
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), (0..names.len()).map(column).collect())
                .map_err(|e| Error::bug("grants are four columns").with_source(e))?;
        Ok(Planned::Local(vec![batch], schema))
    }
}

/// Grantee, privilege, kind and name of each grant that the user may know of; owners too.
fn rows(rights: &Rights, only: Option<&str>) -> Vec<[String; 4]> {
    let all = rights.all();
    let limited = rights.limited();
    let mut rows = Vec::new();
    for (user, _) in all.users().iter().filter(|(_, admin)| **admin) {
        if limited.is_none() {
            rows.push([user.as_str(), "ADMIN", "catalog", CATALOG].map(str::to_owned));
        }
    }
    for entry in all.entries() {
        let (kind, name) = (entry.definition.kind(), entry.name.to_string());
        let mut add = |user: &str, privilege: String| {
            let mine = limited.is_none_or(|me| user.is_empty() || user == me);
            if mine || rights.owns(&entry.name, &entry.access) {
                let user = if user.is_empty() { EVERYBODY } else { user };
                rows.push([user.to_owned(), privilege, kind.to_owned(), name.clone()]);
            }
        };
        if let Some(owner) = entry.access.owner.as_deref().filter(|owner| !owner.is_empty()) {
            add(owner, "OWNER".to_owned());
        }
        for grant in &entry.access.grants {
            grant.privileges.each().for_each(|one| add(&grant.user, one.to_string()));
        }
    }
    rows.retain(|row| only.is_none_or(|user| row[0] == user));
    rows.sort();
    rows
}

/// Whether `SHOW words` asks for grants.
pub(super) fn are_meant(words: &[Ident]) -> bool {
    words.first().is_some_and(|word| word.value.eq_ignore_ascii_case("grants"))
}

/// Rewrites `ON CATALOG name` of a GRANT or REVOKE to `ON DATABASE name`, which is what the parser
/// calls it.
pub(super) fn take_catalog(tokens: &mut [TokenWithSpan]) {
    let mut words: Vec<usize> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !matches!(token.token, Token::Whitespace(_)) {
            words.push(at);
        }
    }
    let keyword = |at: usize| match &tokens[at].token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let first = words.first().map(|at| keyword(*at));
    if !matches!(first, Some(Keyword::GRANT | Keyword::REVOKE)) {
        return;
    }
    let is_catalog = |at: usize| {
        matches!(&tokens[at].token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("catalog"))
    };
    let named = |at: usize| {
        let word = matches!(tokens[at].token, Token::Word(_));
        word && !matches!(keyword(at), Keyword::TO | Keyword::FROM)
    };
    let found = words
        .windows(3)
        .find(|three| keyword(three[0]) == Keyword::ON && is_catalog(three[1]) && named(three[2]));
    if let Some(three) = found {
        let at = three[1];
        tokens[at].token = Token::make_keyword("DATABASE");
    }
}

/// The object of the statement, and what the statement takes it for.
fn object(scope: &Scope, objects: Option<&GrantObjects>) -> Result<(Name, &'static str)> {
    let one = |names: &[ObjectName]| match names {
        [name] => Ok(name.clone()),
        _ => Err(Error::invalid("one GRANT or REVOKE is about one object")
            .with_hint("write one for each")),
    };
    match objects {
        Some(GrantObjects::Tables(names) | GrantObjects::Views(names)) => {
            let reference = TableReference::parse_str(&one(names)?.to_string());
            Ok((query::name_of(&scope.state(), &reference)?, "table"))
        }
        Some(GrantObjects::Schemas(names)) => {
            let name = one(names)?;
            let words: Vec<String> =
                name.0.iter().filter_map(|part| part.as_ident()).map(identifier).collect();
            Ok((schema_name(&words.join("."))?, "schema"))
        }
        Some(GrantObjects::Databases(names)) => {
            let name = one(names)?.to_string();
            if name.trim_matches('"') != CATALOG {
                return Err(Error::invalid(format!("there is no catalog '{name}'"))
                    .with_hint(format!("there is one: '{CATALOG}'")));
            }
            Ok((Name::catalog(), "catalog"))
        }
        _ => Err(unsupported("this GRANT or REVOKE")
            .with_hint("name a table, a view, SCHEMA name, or CATALOG dunlin")),
    }
}

/// The record of the object, if it has one. `Invalid`: it does not exist, or is not seen.
fn found(scope: &Scope, name: &Name, kind: &'static str) -> Result<Option<Stored>> {
    if name.is_catalog() {
        return Ok(scope.rights().all().stored(name));
    }
    let Some(object) = &name.object else {
        return match scope.snapshot().has_schema(&name.schema) {
            true => Ok(scope.rights().all().stored(name)),
            false => Err(no_schema(&name.schema, scope.snapshot())),
        };
    };
    match (scope.snapshot().stored(name), scope.find(&name.schema, object)) {
        (Some(stored), _) => Ok(Some(stored)),
        (None, Some(_)) => {
            Err(Error::invalid(format!("table '{name}' is a file of the folder that was opened"))
                .with_hint("all users may read it"))
        }
        (None, None) => Err(missing(name, kind, scope.rights())),
    }
}

/// What is granted or revoked. `Invalid`: the object has no such privilege.
fn privileges(asked: &Asked, kind: &str, give: bool) -> Result<Privileges> {
    let has: &[Privilege] = match kind {
        "table" => &[Privilege::Select, Privilege::Insert, Privilege::Drop],
        "view" => &[Privilege::Select, Privilege::Drop],
        _ => &Privilege::EACH,
    };
    let actions = match asked {
        Asked::All { .. } if give => return Ok(Privileges::of(has)),
        Asked::All { .. } => return Ok(Privileges::ALL),
        Asked::Actions(actions) => actions,
    };
    let one = |action: &Action| {
        let privilege = match action {
            Action::Select { columns: None } => Some(Privilege::Select),
            Action::Insert { columns: None } => Some(Privilege::Insert),
            Action::Create { obj_type: None } => Some(Privilege::Create),
            Action::Drop => Some(Privilege::Drop),
            _ => None,
        };
        privilege.filter(|privilege| has.contains(privilege)).ok_or_else(|| {
            let names: Vec<String> = has.iter().map(Privilege::to_string).collect();
            Error::invalid(format!("a {kind} has no privilege {action}"))
                .with_hint(format!("it has {}, and ALL", names.join(", ")))
        })
    };
    Ok(Privileges::of(&actions.iter().map(one).collect::<Result<Vec<_>>>()?))
}

/// The name of a user; empty for all.
fn grantee(grantee: &Grantee) -> Result<String> {
    let refuse = || {
        Error::invalid(format!("'{grantee}' is neither a user nor PUBLIC"))
            .with_hint("there are no roles or groups")
    };
    match (&grantee.grantee_type, &grantee.name) {
        (GranteesType::Public, _) => Ok(String::new()),
        (GranteesType::None | GranteesType::User, Some(GranteeName::ObjectName(name))) => {
            match name.0.as_slice() {
                [part] => {
                    let user = part.as_ident().map(identifier).filter(|user| !user.is_empty());
                    user.ok_or_else(refuse)
                }
                _ => Err(refuse()),
            }
        }
        _ => Err(refuse()),
    }
}
