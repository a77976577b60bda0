'use strict';

/** One `send` that waits for its record. */
class Waiter {
  constructor(resolve, reject, topic) {
    this.resolve = resolve;
    this.reject = reject;
    this.topic = topic;
  }
}

/** One `sendMany` that waits for its records. */
class Tally {
  delivered = 0;
  failures = [];
  /** Records that are not settled, and one more until all are sent. */
  left = 1;

  constructor(resolve, reject) {
    this.resolve = resolve;
    this.reject = reject;
  }

  fail(index, error) {
    this.failures.push({ index, error });
  }

  settle(records) {
    this.left -= records;
    if (this.left > 0) return;
    const { delivered, failures } = this;
    if (failures.length === 0) {
      this.resolve({ delivered });
      return;
    }
    failures.sort((one, other) => one.index - other.index);
    const { error } = failures[0];
    error.failures = failures;
    error.delivered = delivered;
    this.reject(error);
  }
}

/** The records of one call of the addon. */
class Group {
  count = 0;
  failures = 0;
  /** Who waits for each record, where anybody waits for one alone. */
  waiters = null;
  /** Whose records these are, and the place of each there. */
  tally = null;
  places = null;

  constructor(producer) {
    this.producer = producer;
  }

  /** The next record has somebody who waits for it. */
  wait(waiter) {
    this.waiters ??= new Array(this.count).fill(null);
    this.waiters[this.count++] = waiter;
  }

  /** All records are those of one `sendMany`. */
  countFor(tally) {
    this.tally = tally;
    this.places = [];
  }

  /** Nobody waits for the next record. */
  pass() {
    if (this.waiters !== null) this.waiters.push(null);
    this.count++;
  }

  delivered(index, partition, offset, timestamp) {
    const waiter = this.waiters === null ? null : this.waiters[index];
    if (waiter !== null) waiter.resolve({ topic: waiter.topic, partition, offset, timestamp });
  }

  failed(index, error) {
    this.failures++;
    const waiter = this.waiters === null ? null : this.waiters[index];
    if (waiter !== null) waiter.reject(error);
    else if (this.tally !== null) this.tally.fail(this.places[index], error);
    else this.producer.onFailure(error);
  }

  /** All outcomes are told. */
  end() {
    const delivered = this.count - this.failures;
    this.producer.onSettled(delivered, this.failures);
    if (this.tally !== null) {
      this.tally.delivered += delivered;
      this.tally.settle(this.count);
    }
  }
}

module.exports = { Group, Tally, Waiter };
