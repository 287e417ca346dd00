// Package kafka is the proof that clients of Kafka authenticate with packages sasl and
// sasl/kafka: see its tests. There is no Kafka in it: the broker knows what it takes to
// authenticate, with a sasl.Server.
package kafka
