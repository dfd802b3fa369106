//! The Java object streams of the protocol as what they are: constant bytes around a few values.
//! Written with the grammar of version 5 of `java.io` serialization: `\xac\xed\0\x05` begins a
//! stream, `sr` an object and its class, `L`, `[`, `I` and `Z` fields, `xp` ends a class without a
//! parent, `t` is a string, `q` a reference to one before, `p` null.
//!
//! A stream that differs by one byte is refused: there is no general parser here, by intent.

/// How every object stream begins.
pub(super) const MAGIC: &[u8] = b"\xac\xed\x00\x05";

/// A message of a client since 0.6, up to its number.
pub(super) const MESSAGE_HEAD: &[u8] = b"\xac\xed\x00\x05sr\
    \x00\x3corg.apache.celeborn.common.network.protocol.TransportMessage\
    \xd2\xc5\xb3\xed\xf7\x07\x0f\x33\x02\x00\x03\
    I\x00\x10messageTypeValue\
    [\x00\x07payloadt\x00\x02[B\
    L\x00\x0cserdeVersiont\
    \x00\x3aLorg/apache/celeborn/common/network/protocol/SerdeVersion;\
    xp";

/// Its end, after the payload: that it is of version 1.
pub(super) const MESSAGE_TAIL: &[u8] = b"~r\
    \x00\x38org.apache.celeborn.common.network.protocol.SerdeVersion\
    \0\0\0\0\0\0\0\0\x12\x00\x00x\
    r\x00\x0ejava.lang.Enum\0\0\0\0\0\0\0\0\x12\x00\x00xp\
    t\x00\x02V1";

/// A message of a client of 0.5, up to its number: the same class without a version.
pub(super) const OLD_MESSAGE_HEAD: &[u8] = b"\xac\xed\x00\x05sr\
    \x00\x3corg.apache.celeborn.common.network.protocol.TransportMessage\
    \xd2\xc5\xb3\xed\xf7\x07\x0f\x33\x02\x00\x02\
    I\x00\x10messageTypeValue\
    [\x00\x07payloadt\x00\x02[B\
    xp";

/// A payload, up to its length.
pub(super) const PAYLOAD: &[u8] = b"ur\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00xp";

/// No payload.
pub(super) const NULL: u8 = b'p';

/// The question whether an endpoint exists, up to its name.
pub(super) const CHECK_EXISTENCE: &[u8] = b"\xac\xed\x00\x05sr\
    \x00\x47org.apache.celeborn.common.rpc.netty.RpcEndpointVerifier$CheckExistence\
    \x00\x00\x00\x72\xad\xe1\xba\x7d\x02\x00\x01\
    L\x00\x04namet\x00\x12Ljava/lang/String;\
    xpt";

/// A truth value, up to the value.
pub(super) const BOOLEAN: &[u8] = b"\xac\xed\x00\x05sr\
    \x00\x11java.lang.Boolean\
    \xcd\x20\x72\x80\xd5\x9c\xfa\xee\x02\x00\x01\
    Z\x00\x05value\
    xp";

/// The failure of a master that does not lead, up to the message of it.
pub(super) const NOT_LEADER: &[u8] = b"\xac\xed\x00\x05sr\
    \x00\x2forg.apache.celeborn.common.rpc.netty.RpcFailure\
    \x26\xc3\x39\x46\x0f\x06\xc9\x52\x02\x00\x01\
    L\x00\x01et\x00\x15Ljava/lang/Throwable;xp\
    sr\x00\x3aorg.apache.celeborn.common.client.MasterNotLeaderException\
    \xdc\x93\xc8\xff\x1b\x83\xd7\xe1\x02\x00\x02\
    L\x00\x12internalLeaderPeert\x00\x12Ljava/lang/String;\
    L\x00\x0aleaderPeerq\x00\x7e\x00\x04\
    xr\x00\x13java.io.IOException\x6c\x80\x73\x64\x65\x25\xf0\xab\x02\x00\x00\
    xr\x00\x13java.lang.Exception\xd0\xfd\x1f\x3e\x1a\x3b\x1c\xc4\x02\x00\x00\
    xr\x00\x13java.lang.Throwable\xd5\xc6\x35\x27\x39\x77\xb8\xcb\x03\x00\x04\
    L\x00\x05causeq\x00\x7e\x00\x01\
    L\x00\x0ddetailMessageq\x00\x7e\x00\x04\
    [\x00\x0astackTracet\x00\x1e[Ljava/lang/StackTraceElement;\
    L\x00\x14suppressedExceptionst\x00\x10Ljava/util/List;\
    xppt";

/// What follows that message: no stack trace, nothing suppressed, end of what the parent wrote.
pub(super) const NOT_LEADER_MIDDLE: &[u8] = b"ppxt";

/// The name of the class in the first object of a stream, for an error that names it.
pub(super) fn class_of(stream: &[u8]) -> Option<&str> {
    let class = stream.strip_prefix(MAGIC)?.strip_prefix(b"sr")?;
    let (length, class) = class.split_first_chunk::<2>()?;
    let name = class.get(..usize::from(u16::from_be_bytes(*length)))?;
    std::str::from_utf8(name).ok().filter(|name| name.len() <= 200)
}
