// What the node asks at deploy: the kind, its methods, and the JSON Schemas by which it checks arguments and converts
// between JSON and MessagePack.

/** The greatest number that the counter holds. */
export const MOST = 2n ** 64n - 1n;

/** Raised when the bytes of `snapshot` change in a way that older code, or this code with older bytes, cannot read. */
export const SCHEMA_VERSION = 1;

const NUMBER = { type: 'integer', format: 'uint64', minimum: 0 };

const NOTHING = object({});

/** The error of `increment`, tagged with its name as serde does it, so that it is the same as the Rust counter's. */
const REFUSAL = {
  description: 'Why the counter refuses. The variant, in snake case, is the code that a caller sees.',
  oneOf: [
    {
      ...object({
        Full: {
          type: 'object',
          properties: { left: { ...NUMBER, description: 'What can still be added.' } },
          required: ['left'],
        },
      }),
      description: 'The value would be greater than the greatest number.',
    },
  ],
};

/** The kinds that this component implements: one. */
export function describe() {
  return [
    {
      name: 'counter-js',
      doc: 'A number that is added to.',
      schemaVersion: SCHEMA_VERSION,
      schemaVersionOldest: 1,
      methods: [
        {
          name: 'increment',
          doc: 'Adds to the counter and returns its new value.',
          query: false,
          arguments: JSON.stringify(object({ by: NUMBER })),
          result: JSON.stringify(NUMBER),
          rejection: JSON.stringify(REFUSAL),
        },
        {
          name: 'value',
          doc: 'The current value.',
          query: true,
          arguments: JSON.stringify(NOTHING),
          result: JSON.stringify(NUMBER),
        },
        {
          name: 'reset',
          doc: 'Sets the counter to 0 and returns the value that it had.',
          query: false,
          arguments: JSON.stringify(NOTHING),
          result: JSON.stringify(NUMBER),
        },
      ],
    },
  ];
}

/** The schema of an object with exactly these properties. */
function object(properties) {
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false };
}
