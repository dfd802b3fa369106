//! Calls at the Flight SQL door with tickets, tokens, handles, commands and rows that are wrong.
//!
//! Each must fail with an error that blames the caller. A call that answers says rows that are
//! right: some bits of a message mean nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any,
    CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, Ticket};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dunlin_base::Env;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use super::served::Served;
use crate::door::lab::{Plain, count, rows, signed, ticket};

/// Names of what the protocol wraps in an `Any`.
const TYPES: [&str; 16] = [
    "ActionCreatePreparedStatementRequest",
    "CommandGetCatalogs",
    "CommandGetCrossReference",
    "CommandGetDbSchemas",
    "CommandGetPrimaryKeys",
    "CommandGetSqlInfo",
    "CommandGetTables",
    "CommandGetXdbcTypeInfo",
    "CommandPreparedStatementQuery",
    "CommandPreparedStatementUpdate",
    "CommandStatementIngest",
    "CommandStatementQuery",
    "CommandStatementSubstraitPlan",
    "CommandStatementUpdate",
    "TicketStatementQuery",
    "Unheard",
];

const ACTIONS: [&str; 10] = [
    "CreatePreparedStatement",
    "ClosePreparedStatement",
    "CancelFlightInfo",
    "CancelQuery",
    "RenewFlightEndpoint",
    "SetSessionOptions",
    "GetSessionOptions",
    "CloseSession",
    "BeginTransaction",
    "Unheard",
];

fn random_bytes(random: &Env, max: u64) -> Vec<u8> {
    (0..random.random_below(max + 1)).map(|_| random.random() as u8).collect()
}

/// Spoiled in a place: a changed bit, an end, or bytes in between. (Not at the beginning: some
/// bytes there are a field that nobody knows, and all else is as it was.)
fn spoiled(good: &[u8], random: &Env) -> Vec<u8> {
    let at = random.random_below(good.len() as u64) as usize;
    let mut bytes = good.to_vec();
    match random.random_below(4) {
        0 => bytes.truncate(at),
        1 if at > 0 => drop(bytes.splice(at..at, random_bytes(random, 20))),
        _ => bytes[at] ^= 1 << random.random_below(8),
    }
    bytes
}

/// The door may refuse, and must not break: neither a bug of ours nor a panic.
fn assert_refusal(what: &str, status: &Status) {
    let broken = [Code::Internal, Code::Unknown, Code::DataLoss, Code::Ok];
    assert!(!broken.contains(&status.code()), "{what}: {status:?}");
}

/// An `Any` of a command with anything inside.
fn command(random: &Env, body: Vec<u8>) -> Vec<u8> {
    let name = TYPES[random.random_below(TYPES.len() as u64) as usize];
    let type_url = format!("type.googleapis.com/arrow.flight.protocol.sql.{name}");
    Any { type_url, value: body.into() }.encode_to_vec()
}

/// Tickets: of a query and of rows at hand, spoiled, and not ours at all.
pub(super) async fn tickets(served: &Served) {
    let (random, mut client) = (Env::seeded(21), served.client().await);
    for (sql, expected) in [("SELECT id FROM items", 3), ("SHOW TABLES", 2)] {
        let info = client.execute(sql.to_owned(), None).await.expect("started");
        let good = ticket(&info);
        for _ in 0..100 {
            let bytes = spoiled(&good.ticket, &random);
            if bytes != good.ticket {
                let asked = Request::new(Ticket::new(bytes));
                let answered = get(&mut client, asked).await;
                assert!(answered.is_err_and(|s| s.code() != Code::Internal), "{sql}");
            }
        }
        assert_eq!(count(&rows(&mut client, good).await.expect("its rows")), expected, "{sql}");
    }
    for _ in 0..100 {
        let bytes = random_bytes(&random, 300);
        let handle = TicketStatementQuery { statement_handle: bytes.clone().into() };
        for bytes in [handle.as_any().encode_to_vec(), command(&random, bytes.clone()), bytes] {
            if let Err(status) = get(&mut client, Request::new(Ticket::new(bytes))).await {
                assert_refusal("a ticket", &status);
            }
        }
    }
}

/// All that a DoGet says.
async fn get(client: &mut Plain, request: Request<Ticket>) -> Result<Vec<FlightData>, Status> {
    let request = signed(client, request.into_inner());
    client.inner_mut().do_get(request).await?.into_inner().try_collect().await
}

/// Tokens, passwords and cookies.
pub(super) async fn tokens(served: &Served) {
    let (random, mut client) = (Env::seeded(22), served.client().await);
    let good = URL_SAFE_NO_PAD.decode(served.token()).expect("text of bytes");
    let forged = |_| URL_SAFE_NO_PAD.encode(spoiled(&good, &random));
    let mut tokens: Vec<String> = (0..100).map(forged).collect();
    tokens.extend((0..40).map(|_| URL_SAFE_NO_PAD.encode(random_bytes(&random, 3000))));
    tokens.extend(["", "=", "a", "Bearer", "..."].map(str::to_owned));
    for token in tokens.iter().filter(|token| *token != served.token()) {
        client.set_token(token.clone());
        let request = signed(&client, FlightDescriptor::new_cmd(select().encode_to_vec()));
        let refused = client.inner_mut().get_flight_info(request).await.expect_err("forged");
        assert_eq!(refused.code(), Code::Unauthenticated, "'{token}': {refused}");
    }
    client.set_token(served.token().to_owned());
    for _ in 0..60 {
        let mut request = signed(&client, FlightDescriptor::new_cmd(select().encode_to_vec()));
        let cookie = URL_SAFE_NO_PAD.encode(random_bytes(&random, 500));
        let cookie = MetadataValue::try_from(format!("dunlin_session={cookie}"));
        request.metadata_mut().insert("cookie", cookie.expect("text"));
        let refused = client.inner_mut().get_flight_info(request).await.expect_err("no session");
        assert_refusal("a cookie", &refused);
    }
    for login in ["Basic", "Basic !", "Basic bm9ib2R5", "Digest x", "Bearer x"] {
        let mut request = Request::new(stream::empty());
        request.metadata_mut().insert("authorization", login.parse().expect("text"));
        let refused = client.inner_mut().handshake(request).await.expect_err("no password");
        assert_eq!(refused.code(), Code::Unauthenticated, "'{login}': {refused}");
    }
}

fn select() -> Any {
    CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None }.as_any()
}

/// Descriptors, actions, and prepared statements that nobody prepared.
pub(super) async fn commands(served: &Served) {
    let (random, mut client) = (Env::seeded(23), served.client().await);
    let handle = prepared(&mut client).await;
    for seed in 0..150 {
        let body = match seed % 3 {
            0 => random_bytes(&random, 300),
            1 => spoiled(&select().value, &random),
            _ => CommandPreparedStatementQuery {
                prepared_statement_handle: spoiled(&handle, &random).into(),
            }
            .encode_to_vec(),
        };
        let bytes = command(&random, body);
        let path = vec![String::from_utf8_lossy(&bytes).into_owned()];
        let descriptors =
            [FlightDescriptor::new_cmd(bytes.clone()), FlightDescriptor::new_path(path)];
        for descriptor in descriptors {
            let request = signed(&client, descriptor.clone());
            if let Err(status) = client.inner_mut().get_flight_info(request).await {
                assert_refusal("a command", &status);
            }
            let request = signed(&client, descriptor);
            if let Err(status) = client.inner_mut().get_schema(request).await {
                assert_refusal("the schema of a command", &status);
            }
        }
        let name = ACTIONS[random.random_below(ACTIONS.len() as u64) as usize];
        let request = signed(&client, Action::new(name, bytes));
        if let Err(status) = client.inner_mut().do_action(request).await {
            assert_refusal(name, &status);
        }
    }
    // Longer than the door takes.
    let long = FlightDescriptor::new_cmd(vec![b'x'; 17 << 20]);
    let request = signed(&client, long);
    let refused = client.inner_mut().get_flight_info(request).await.expect_err("too long");
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

async fn prepared(client: &mut Plain) -> Vec<u8> {
    let query = "SELECT $1 + 1".to_owned();
    let ask = ActionCreatePreparedStatementRequest { query, transaction_id: None };
    let request =
        signed(client, Action::new("CreatePreparedStatement", ask.as_any().encode_to_vec()));
    let mut answers = client.inner_mut().do_action(request).await.expect("prepared").into_inner();
    let answer = answers.message().await.expect("an answer").expect("one");
    let answer = Any::decode(answer.body).expect("a message");
    let result: Option<ActionCreatePreparedStatementResult> = answer.unpack().expect("readable");
    result.expect("a handle").prepared_statement_handle.to_vec()
}

/// Rows that are sent: wrong in their headers, in their bytes, in what they say of themselves.
pub(super) async fn sent_rows(served: &Served) {
    let (random, mut client) = (Env::seeded(24), served.client().await);
    let handle = prepared(&mut client).await;
    let bind = CommandPreparedStatementQuery { prepared_statement_handle: handle.into() };
    let descriptor = FlightDescriptor::new_cmd(bind.as_any().encode_to_vec());
    let good = messages(descriptor.clone()).await;
    for seed in 0..200 {
        let mut sent = good.clone();
        let victim = random.random_below(sent.len() as u64) as usize;
        let message = &mut sent[victim];
        match seed % 4 {
            0 => message.data_header = spoiled(&message.data_header, &random).into(),
            1 if !message.data_body.is_empty() => {
                message.data_body = spoiled(&message.data_body, &random).into();
            }
            2 => message.data_header = random_bytes(&random, 300).into(),
            _ => drop(sent.remove(victim)),
        }
        if let Err(status) = put(&mut client, sent).await {
            assert_refusal("rows", &status);
        }
    }
    for sent in [Vec::new(), vec![FlightData::default()], good[1..].to_vec()] {
        let refused = put(&mut client, sent).await.expect_err("no command");
        assert_refusal("no command", &refused);
    }
    let refused = put(&mut client, promising(descriptor).await).await.expect_err("a promise");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}

async fn put(client: &mut Plain, sent: Vec<FlightData>) -> Result<usize, Status> {
    let request = signed(client, stream::iter(sent));
    let answers = client.inner_mut().do_put(request).await?.into_inner();
    answers.try_collect::<Vec<_>>().await.map(|answers| answers.len())
}

/// One row of two columns.
async fn messages(descriptor: FlightDescriptor) -> Vec<FlightData> {
    encoded(descriptor, None).await
}

/// Compressed rows that claim to be a thousand terabytes.
async fn promising(descriptor: FlightDescriptor) -> Vec<FlightData> {
    let lz4 = arrow::ipc::CompressionType::LZ4_FRAME;
    let mut sent = encoded(descriptor, Some(lz4)).await;
    let message = sent.iter_mut().find(|m| !m.data_body.is_empty()).expect("a batch");
    let header = arrow::ipc::root_as_message(&message.data_header).expect("a message");
    let batch = header.header_as_record_batch().expect("a batch");
    let buffers = batch.buffers().expect("buffers").iter();
    let starts: Vec<usize> =
        buffers.filter(|b| b.length() > 8).map(|b| b.offset() as usize).collect();
    assert!(!starts.is_empty());
    let mut body = message.data_body.to_vec();
    for start in starts {
        body[start..start + 8].copy_from_slice(&(1_i64 << 50).to_le_bytes());
    }
    message.data_body = body.into();
    sent
}

async fn encoded(
    descriptor: FlightDescriptor,
    compression: Option<arrow::ipc::CompressionType>,
) -> Vec<FlightData> {
    let text = "many words ".repeat(100);
    let columns: [(&str, ArrayRef); 2] = [
        ("number", Arc::new(Int64Array::from(vec![Some(7)]))),
        ("text", Arc::new(StringArray::from(vec![Some(text)]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns fit");
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let options = options.try_with_compression(compression).expect("known");
    let encoder = FlightDataEncoderBuilder::new()
        .with_options(options)
        .with_flight_descriptor(Some(descriptor))
        .build(stream::iter([Ok(batch)]));
    encoder.map(|message| message.expect("encoded")).collect().await
}
