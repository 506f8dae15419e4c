// A number that is added to: the entity of ../counter, in JavaScript.
//
//     entia deploy counter-js.wasm
//     entia call counter-js/visits increment '{"by": 5}'
//
// One instance of this module is one entity. The node calls `activate` once, then one export at a time, and keeps what
// `snapshot` returns. An interface's kebab-case names are camelCase here, a `u64` is a BigInt, an empty `option` is
// `undefined`, and a WIT `result` is returned or thrown.

import { Decoder, Encoder } from '@msgpack/msgpack';
import { write } from 'entia:entity/log@1.0.0';

import { MOST, SCHEMA_VERSION, describe } from './description.js';

/** What survives between calls. A BigInt, since a Number is exact only to 2^53. */
let value = 0n;

/** The methods by name. The node has checked the arguments against their schemas before. */
const methods = {
  increment({ by }) {
    const left = MOST - value;
    // MessagePack's small integers arrive as Numbers, the others as BigInts.
    if (BigInt(by) > left) {
      throw rejection('full', `the counter is full: ${left} can still be added`, { Full: { left } });
    }
    value += BigInt(by);
    return value;
  },

  value() {
    return value;
  },

  reset() {
    write('info', `reset from ${value}`);
    const was = value;
    value = 0n;
    return was;
  },
};

/** The interface `guest` of the contract. */
export const guest = {
  describe,

  activate(_me, stored) {
    if (stored !== undefined) {
      value = BigInt(unpack(stored.bytes).value);
    }
  },

  handle(_context, method, payload) {
    try {
      return pack(methods[method](unpack(payload)));
    } catch (thrown) {
      // A refusal goes to the caller. An Error is a trap, and what it was only the log can say.
      if (thrown instanceof Error) {
        console.error(`${thrown}\n${thrown.stack}`);
      }
      throw thrown;
    }
  },

  snapshot() {
    return { schemaVersion: SCHEMA_VERSION, bytes: pack({ value }) };
  },

  onTimer() {
    // It sets none.
  },
};

/**
 * A refusal, to be thrown. It is an answer, so what the method changed before it is kept: check first, change afterwards.
 * A thrown Error, in contrast, traps, which undoes the turn.
 */
function rejection(code, message, data) {
  return { code, message, data: pack(data) };
}

// One of each for all calls: each has buffers, which the garbage collector takes its time to free.
const encoder = new Encoder({ useBigInt64: true });
const decoder = new Decoder({ useBigInt64: true });

function pack(plain) {
  return encoder.encode(plain);
}

function unpack(bytes) {
  return decoder.decode(bytes);
}
