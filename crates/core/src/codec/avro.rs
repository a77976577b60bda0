//! Avro's binary encoding: the primitives that the generated encoders and decoders are made of.
