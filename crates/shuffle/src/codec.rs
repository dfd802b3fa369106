//! What the body of a block is: see [`Encoder`] and [`Decoder`].
