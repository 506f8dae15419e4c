;; An entity that grows its table until it is refused, and then traps. Rust has no word for tables, so this is written by
;; hand; it is also all that a component needs to be an entity.
;;
;; `grow` is the bomb. `value` returns 7: it shows that the entity answers again afterwards.
(component
  (import "entia:entity/types@1.0.0" (instance $types
    (type $entity-id' (record (field "kind" string) (field "key" string)))
    (export "entity-id" (type $entity-id (eq $entity-id')))
    (type $caller' (variant
      (case "anonymous") (case "principal" string) (case "entity" $entity-id)))
    (export "caller" (type $caller (eq $caller')))
    (type $context' (record
      (field "caller" $caller) (field "key" string) (field "attempt" u32) (field "deadline-left-ms" u64)))
    (export "context" (type (eq $context')))
    (type $payload' (list u8))
    (export "payload" (type $payload (eq $payload')))
    (type $rejection' (record
      (field "code" string) (field "message" string) (field "data" (option $payload))))
    (export "rejection" (type (eq $rejection')))
    (type $state' (record (field "schema-version" u32) (field "bytes" (list u8))))
    (export "state" (type (eq $state')))
    (type $method' (record
      (field "name" string) (field "doc" string) (field "query" bool) (field "arguments" string)
      (field "result" string) (field "rejection" (option string))))
    (export "method" (type $method (eq $method')))
    (type $kind' (record
      (field "name" string) (field "doc" string) (field "schema-version" u32)
      (field "schema-version-oldest" u32) (field "methods" (list $method))))
    (export "kind" (type (eq $kind')))
  ))
  (alias export $types "entity-id" (type $entity-id))
  (alias export $types "context" (type $context))
  (alias export $types "payload" (type $payload))
  (alias export $types "rejection" (type $rejection))
  (alias export $types "state" (type $state))
  (alias export $types "kind" (type $kind))

  (core module $entity
    (memory (export "memory") 1)
    (table $table 1 funcref)
    (global $free (mut i32) (i32.const 4096))

    ;; Strings.
    (data (i32.const 0) "table-bomb")
    (data (i32.const 16) "grow")
    (data (i32.const 32) "value")
    (data (i32.const 48) "{\22type\22:\22object\22}") ;; 17 bytes
    (data (i32.const 80) "{\22type\22:\22integer\22}") ;; 18 bytes
    ;; The answer of `describe`: a list of one kind.
    (data (i32.const 128) "\88\00\00\00\01\00\00\00")
    (data (i32.const 136)
      "\00\00\00\00\0a\00\00\00" "\00\00\00\00\0a\00\00\00" ;; name and doc
      "\01\00\00\00\01\00\00\00" ;; schema versions
      "\c8\00\00\00\02\00\00\00") ;; two methods, at 200
    (data (i32.const 200)
      "\10\00\00\00\04\00\00\00" "\10\00\00\00\04\00\00\00" "\00\00\00\00" ;; name, doc, a command
      "\30\00\00\00\11\00\00\00" "\50\00\00\00\12\00\00\00" ;; arguments and result
      "\00\00\00\00\00\00\00\00\00\00\00\00") ;; no rejection
    (data (i32.const 248)
      "\20\00\00\00\05\00\00\00" "\20\00\00\00\05\00\00\00" "\01\00\00\00" ;; a query
      "\30\00\00\00\11\00\00\00" "\50\00\00\00\12\00\00\00"
      "\00\00\00\00\00\00\00\00\00\00\00\00")
    ;; The answer of `activate` and `on-timer`: ok. That of `handle`: ok, one byte at 400, a MessagePack 7.
    (data (i32.const 320) "\00\00\00\00\90\01\00\00\01\00\00\00")
    (data (i32.const 400) "\07")
    ;; The answer of `snapshot`: version 1, no bytes.
    (data (i32.const 340) "\01\00\00\00\00\00\00\00\00\00\00\00")

    (func (export "describe") (result i32) (i32.const 128))
    (func (export "activate") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 320))
    (func (export "snapshot") (result i32) (i32.const 340))
    (func (export "on-timer") (param i32 i32 i64 i32 i32) (result i32) (i32.const 320))
    (func (export "handle")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i64) (param $method i32) (param $method-bytes i32) (param i32 i32)
      (result i32)
      ;; The methods' names differ in their length.
      (if (i32.eq (local.get $method-bytes) (i32.const 4))
        (then
          (loop $more
            (br_if $more
              (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
          unreachable))
      (i32.const 320))
    (func (export "realloc") (param i32 i32 i32) (param $bytes i32) (result i32)
      (local $given i32)
      (local.set $given (global.get $free))
      ;; Whatever it was given is not read again: the next call may overwrite it.
      (if (i32.gt_u (i32.add (local.get $given) (local.get $bytes)) (i32.const 60000))
        (then (local.set $given (i32.const 4096))))
      (global.set $free
        (i32.and (i32.add (i32.add (local.get $given) (local.get $bytes)) (i32.const 7)) (i32.const -8)))
      (local.get $given))
  )
  (core instance $i (instantiate $entity))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))

  (func $describe (result (list $kind))
    (canon lift (core func $i "describe") (memory $memory)))
  (func $activate (param "me" $entity-id) (param "stored" (option $state)) (result (result (error $rejection)))
    (canon lift (core func $i "activate") (memory $memory) (realloc $realloc)))
  (func $handle (param "ctx" $context) (param "method" string) (param "arguments" $payload)
    (result (result $payload (error $rejection)))
    (canon lift (core func $i "handle") (memory $memory) (realloc $realloc)))
  (func $snapshot (result $state)
    (canon lift (core func $i "snapshot") (memory $memory)))
  (func $on-timer (param "name" string) (param "fire" u64) (param "payload" $payload)
    (result (result (error $rejection)))
    (canon lift (core func $i "on-timer") (memory $memory) (realloc $realloc)))
  (instance (export "entia:entity/guest@1.0.0")
    (export "describe" (func $describe))
    (export "activate" (func $activate))
    (export "handle" (func $handle))
    (export "snapshot" (func $snapshot))
    (export "on-timer" (func $on-timer)))
)
