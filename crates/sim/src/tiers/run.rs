//! Runs one combination: a cluster of its own, the skewed shuffle, TPC-H, and what is left.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use dunlin_base::{Env, Result};
use futures::TryStreamExt;

use super::data::{Asked, Question};
use super::held::{Held, watch};
use super::matrix::{Combination, Sizes, Store, WORKERS};
use super::s3::Moto;
use crate::chaos::Outcome;
use crate::processes::{Cluster, Needs, Own, Shape, leftovers};

/// What all combinations have in common.
pub struct Options {
    /// `dunlin`, with first arguments where it is part of another program.
    pub program: Vec<OsString>,
    /// Amounts.
    pub sizes: Sizes,
    /// How long an answer may take, an error as well.
    pub answer_max: Duration,
    /// The program that serves S3, for combinations that want it.
    pub moto: Option<PathBuf>,
}

/// What became of a question.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The question's name.
    pub name: String,
    /// The answer.
    pub outcome: Outcome,
    /// From the question to the end of the answer.
    pub took: Duration,
}

/// What was found of a combination.
#[derive(Clone, Debug)]
pub struct Found {
    /// The skewed shuffle, if it was asked.
    pub skew: Option<Answer>,
    /// TPC-H.
    pub queries: Vec<Answer>,
    /// What the workers held meanwhile.
    pub held_skew: Held,
    /// What the workers held during TPC-H.
    pub held_queries: Held,
    /// What was left in the end, though the sweepers had had their time.
    pub left: Vec<String>,
}

/// Runs it in `folder`, which must not have been used. Errors are of the harness and of the machine;
/// what is wrong with Dunlin is in what was found.
pub async fn run(
    env: &Env,
    options: &Options,
    asked: &Asked,
    combination: &Combination,
    folder: &Path,
) -> Result<Found> {
    let s3 = match (combination.store, &options.moto) {
        (Store::S3, Some(program)) => Some(Moto::start(env, program, &parent(folder)?).await?),
        _ => None,
    };
    let url = s3.as_ref().map(|_| Moto::url());
    let own = Own {
        configuration: combination.configuration(&options.sizes, url.as_deref()),
        variables: s3.as_ref().map(Moto::variables).unwrap_or_default(),
        disk: combination.disk(&options.sizes),
    };
    let shuffles = WORKERS as usize;
    let shape = Shape { members: 1, gateways: 1, executors: 2, shuffles, needs: Needs::default() };
    let places = (folder, asked.folder.as_path());
    let cluster = Cluster::start_as(env, shape, &options.program, places, Some(&own)).await?;
    let ask = |question| answer(&cluster, question, combination.copies, options.answer_max);
    let (skew, held_skew) = watch(&cluster, ask(&asked.skew)).await?;
    let all = async {
        let mut answers = Vec::new();
        for question in &asked.queries {
            answers.push(ask(question).await);
        }
        answers
    };
    let (queries, held_queries) = watch(&cluster, all).await?;
    let mut left = left(&cluster).await?;
    if let Err(error) = cluster.drain().await {
        left.push(format!("the end: {error}"));
    }
    Ok(Found { skew: Some(skew), queries, held_skew, held_queries, left })
}

/// The folder for what is not the cluster's.
fn parent(folder: &Path) -> Result<PathBuf> {
    Ok(folder.parent().unwrap_or(folder).to_owned())
}

async fn answer(cluster: &Cluster, question: &Question, copies: u8, max: Duration) -> Answer {
    let env = cluster.env();
    let began = env.now();
    let asked = env.timeout(max, rows(cluster, question, copies)).await;
    let outcome = match asked {
        None => Outcome::Hung,
        Some(Err(error)) => Outcome::Failed(error, false),
        Some(Ok(rows)) => question.differs(&rows).map_or(Outcome::Right, Outcome::Wrong),
    };
    Answer { name: question.name.clone(), outcome, took: env.now().saturating_sub(began) }
}

async fn rows(cluster: &Cluster, question: &Question, copies: u8) -> Result<Vec<RecordBatch>> {
    // A session of its own for each: what is set ends with it.
    let client = cluster.client(0).await?;
    client.sql(&format!("SET dunlin.shuffle_copies = '{copies}'")).await?;
    for setting in &question.settings {
        client.sql(setting).await?;
    }
    client.sql(&question.sql).await?.try_collect().await
}

/// What is left once the sweepers have had their time.
async fn left(cluster: &Cluster) -> Result<Vec<String>> {
    let env = cluster.env();
    let until = env.now() + Cluster::REMAINS_MAX;
    loop {
        let found = leftovers(cluster).await?;
        if found.is_empty() || env.now() >= until {
            return Ok(found.into_iter().map(|what| format!("left: {what}")).collect());
        }
        env.sleep(Duration::from_millis(250)).await;
    }
}
