// Every constraint of the plan dialect, broken once.
// RUN: stele-opt %s --split-input-file --verify-diagnostics

// #plan.instance C1
// expected-error @below {{template must not be empty (C1)}}
#a = #plan.instance<"">

// -----

// C2
// expected-error @below {{constant "n" is named twice (C2)}}
#a = #plan.instance<"add", n = 1, n = 2>

// -----

// C3
// expected-error @below {{constant "n" must be an i64 or a finite f64, got "x" (C3)}}
#a = #plan.instance<"add", n = "x">

// -----

// #plan.param C1
// expected-error @below {{a tensor is only read, got access write (C1)}}
#a = #plan.param<tensor, access = write>

// -----

// C2
// expected-error @below {{in_place is for buffers that are read, got buffer with access write (C2)}}
#a = #plan.param<buffer, access = write, in_place = true>

// -----

// C3
// expected-error @below {{sizes must not be negative and belong to buffers and tensors, got -1 (C3)}}
#a = #plan.param<buffer, bytes = -1>

// -----

// C4
// expected-error @below {{kv_cache needs a cache shape (C4)}}
#a = #plan.param<kv_cache>

// -----

// #plan.page C1
// expected-error @below {{heads and head_dim must be positive, block a power of two in 16..1024, got 1, 16 and 17 (C1)}}
#a = #plan.page<heads = 1, head_dim = 16, block = 17, type = f32>

// -----

// C2
// expected-error @below {{element type must be f32, f16, bf16 or i8, got 'i4' (C2)}}
#a = #plan.page<heads = 1, head_dim = 16, block = 16, type = i4>

// -----

// C3
// expected-error @below {{a state's heads, head_dim and features must be in 1..65536, got 65537 (C3)}}
#a = #plan.page<heads = 1, head_dim = 16, block = 0, type = f32, features = 65537>

// -----

// expected-error @below {{value_index needs key_index (C4)}}
#a = #plan.page<heads = 1, head_dim = 16, block = 16, type = f32, value_index = true>

// -----

// expected-error @below {{a state has block 0, type f32 and no key index, got 16, 'f32' and 0 (C3)}}
#a = #plan.page<heads = 1, head_dim = 16, block = 16, type = f32, features = 8>

// -----

// #plan.paging C1
// expected-error @below {{grid must be positive and hot a positive multiple of it, got 32 and 48 (C1)}}
#a = #plan.paging<hot = 48, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>

// -----

// C2
// expected-error @below {{sinks and warm_tokens must not be negative, warm_bytes positive, got 0, 0 and 0 (C2)}}
#a = #plan.paging<hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 0, pack = @k::@copy, unpack = @k::@copy>

// -----

// C3
// expected-error @below {{warm must be f32, f16, bf16, i8 or i4, got 'i16' (C3)}}
#a = #plan.paging<hot = 32, sinks = 0, grid = 32, warm = i16, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>

// -----

// #plan.placement C1
// expected-error @below {{offset must be a multiple of 64, got 8 (C1)}}
#a = #plan.placement<offset = 8, first = 0, last = 1>

// -----

// C2
// expected-error @below {{lifetime must not end before it begins, got 2 to 1 (C2)}}
#a = #plan.placement<offset = 0, first = 2, last = 1>

// -----

// plan.target C1
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{isa must not be empty (C1)}}
plan.target @x isa ""

// -----

// plan.segment C1
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{needs at least one target (C1)}}
plan.segment @s weights inline for []

// -----

// C1, a name
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{@code is not a target (C1)}}
plan.segment @s weights inline for [@code]

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{file must be a plain name, for external storage only (C2)}}
plan.segment @s weights external file "../w" for [@t]

// -----

// C7
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
// expected-error @below {{sha256 must be 64 hexadecimal digits, for external storage only (C7)}}
plan.segment @s weights external file "w" for [@t] sha256 "0123"

// -----

// C3
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{seed is for synthetic storage only (C3)}}
plan.segment @s weights inline seed 1 for [@t]

// -----

// C4
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{only weights may be synthetic, got tokenizer (C4)}}
plan.segment @s tokenizer synthetic seed 1 for [@t]

// -----

// C5, overlap
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{offset must be a multiple of 64 from 64 on, got 0 (C5 of plan.segment)}}
plan.tensor @x in @weights offset 0 length 64 layout "rows" : tensor<16xf32>

// -----

// C5, end
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{ends at 192, past the segment's 128 bytes (C5 of plan.segment)}}
plan.tensor @x in @weights offset 128 length 64 layout "rows" : tensor<16xf32>

// -----

// C6
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{offset must be a multiple of 4096, got 64 (C6)}}
plan.segment @s weights inline for [@t] offset 64

// -----

// plan.tensor C1
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{type must be static with 1 to 4 dimensions, got 'tensor<?xf32>' (C1)}}
plan.tensor @x in @weights offset 64 length 64 layout "rows" : tensor<?xf32>

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{layout "wild" is not in runtime/schema/weight_layout.h (C2)}}
plan.tensor @x in @weights offset 64 length 64 layout "wild" : tensor<16xf32>

// -----

// C3
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{length must be 64 for this type and layout, got 60 (C3)}}
plan.tensor @x in @weights offset 64 length 60 layout "rows" : tensor<16xf32>

// -----

// C3: 2 panels of 32 rows, of one whole block of 32 columns and one of 8 more:
// 32 scales and offsets of 2 bytes each, and 4 bits for each of 32 x 32 and
// 32 x 8 codes: 2 * (128 + 512 + 128 + 128).
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 4096
// expected-error @below {{length must be 1792 for this type and layout, got 640 (C3)}}
plan.tensor @x in @weights offset 64 length 640 layout "panel_q4" quant <int4, group = 32, scale = f16, offset = f16> : tensor<33x40xf32>

// -----

// C3
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 4096
// expected-error @below {{type and quant do not fit layout "panel_q8" (C3)}}
plan.tensor @x in @weights offset 64 length 640 layout "panel_q8" quant <int4, group = 32, scale = f16> : tensor<32x32xf32>

// -----

// C3
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 4096
// expected-error @below {{type and quant do not fit layout "rows" (C3)}}
plan.tensor @x in @weights offset 64 length 640 layout "rows" quant <int4, group = 32, scale = f16> : tensor<32x32xf32>

// -----

// C4
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{has both segments and a value (C4)}}
plan.tensor @x in @weights offset 64 length 64 layout "rows" segments [#lm.segment<name = "x", source = "x", rows = 16>] value(dense<1.0> : tensor<16xf32>) : tensor<16xf32>

// -----

// C5
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{@code holds no weights but executable (C5)}}
plan.tensor @x in @code offset 64 length 64 layout "rows" : tensor<16xf32>

// -----

// plan.kv_cache C1
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{layers must be positive and slots in 0..16777216, got 0 and 0 (C1)}}
plan.kv_cache @x target @t layers 0 <heads = 1, head_dim = 16, block = 16, type = f32>

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{@w is not a target (C2)}}
plan.kv_cache @x target @w layers 1 <heads = 1, head_dim = 16, block = 16, type = f32>

// -----

// C3
plan.target @t isa "x86-64-v3"
// expected-error @below {{states are never moved into slots, nor transient, nor paged (C3)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 0, type = f32, features = 8> transient

// -----

// C4
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{a paged cache is not transient (C4)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 16, type = f32> transient
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>

// -----

// C4, pages of codes
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{pages of 'i8' cannot be packed as 'f32' (C4)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 16, type = i8>
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>

// -----

// C4, the grid
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{grid must be a multiple of the block of 64, got 32 (C4)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 64, type = f32>
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>

// -----

// C4, the warm type
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{pages of 'f32' cannot be packed as 'f16' (C4)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 16, type = f32>
  paging <hot = 32, sinks = 0, grid = 32, warm = f16, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>

// -----

// C4, the warm bytes
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{warm_bytes must be a record's 2048, got 2049 (C4)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 16, type = f32>
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2049, pack = @k::@copy, unpack = @k::@copy>

// -----

// C5
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{@k::@none is not an entry (C5)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 16, type = f32>
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@none>

// -----

// C5, two executables
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{@k::@copy and @v::@copy must be of one executable (C5)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 16, type = f32>
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @v::@copy>

// -----

// C5, another target
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{@v::@copy is code for @u, the cache is for @t (C5)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 16, type = f32>
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @v::@copy, unpack = @v::@copy>

// -----

// C5, what it takes
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t, @u]
plan.executable @k elf in @code target @t {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
  plan.entry @half params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 640>] scratch 64
}
plan.executable @v elf in @code target @u {
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{@k::@half must take #plan.param<buffer, bytes = 2048> and #plan.param<buffer, access = write, bytes = 640> and nothing else (C5)}}
plan.kv_cache @x target @t layers 1 <heads = 1, head_dim = 16, block = 16, type = f32>
  paging <hot = 32, sinks = 0, grid = 32, warm = i8, warm_bytes = 640, pack = @k::@half, unpack = @k::@copy>

// -----

// plan.executable C1
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{@nobody is not a target (C1)}}
plan.executable @x elf in @code target @nobody {}

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{@weights is not an executable segment for @t (C2)}}
plan.executable @x elf in @weights target @t {}

// -----

// C3
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
// expected-error @below {{holds plan.target, which is no plan.entry (C3)}}
plan.executable @x elf in @code target @t { plan.target @y isa "z" }

// -----

// plan.entry C1
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.executable @x elf in @code target @t {
  // expected-error @below {{token_limit, context_limit and scratch must not be negative, got -1, 0 and 0 (C1)}}
  plan.entry @e params [] token_limit -1
}

// -----

// plan.entry C1
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.executable @x elf in @code target @t {
  // expected-error @below {{shared must be in 0..1048576, got -1 (C1)}}
  plan.entry @e params [] shared -1
}

// -----

// plan.function C1
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
// expected-error @below {{tokens must be positive, sequences and logit_rows in 1..tokens, got 4, 5 and 1 (C1)}}
plan.function @f target @t tokens 4 sequences 5 logit_rows 1 {
  plan.return [] ()
}

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
// expected-error @below {{ranks must be positive, streams in 1..64, events, arena, scratch and shared not negative (C2)}}
plan.function @f target @t tokens 4 sequences 4 logit_rows 1 streams 0 {
  plan.return [] ()
}

// -----

// C2
plan.target @t isa "x86-64-v3"
// expected-error @below {{ranks must be positive, streams in 1..64, events, arena, scratch and shared not negative (C2)}}
plan.function @f target @t tokens 4 sequences 4 logit_rows 1 shared -64 {
  plan.return [] ()
}

// -----

// C3
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
// expected-error @below {{@w is not a target (C3)}}
plan.function @f target @w tokens 4 sequences 4 logit_rows 1 {
  plan.return [] ()
}

// -----

// C4
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{comes after an operation that runs (C4 of plan.function)}}
  %c = plan.buffer "c" temporary rows 4 of 16 : f32
  plan.return [] ()
}

// -----

// C5, no arena
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  // expected-error @below {{has a placement, but its function no arena (C5 of plan.function)}}
  %a = plan.buffer "a" temporary rows 4 of 16 at <offset = 0, first = 0, last = 0> : f32
  plan.return [] ()
}

// -----

// C5, end
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 arena 128 {
  // expected-error @below {{ends at 256, past the arena's 128 bytes (C5 of plan.function)}}
  %a = plan.buffer "a" temporary rows 4 of 16 at <offset = 0, first = 0, last = 0> : f32
  plan.launch "x" @k::@make(%a)
  plan.return [] ()
}

// -----

// C6, a use after the lifetime
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 arena 1024 {
  %a = plan.buffer "a" temporary rows 4 of 16 at <offset = 0, first = 0, last = 1> : f32
  %b = plan.buffer "b" temporary rows 4 of 16 at <offset = 256, first = 1, last = 2> : f32
  plan.launch "x" @k::@make(%a)
  plan.launch "x" @k::@make(%b)
  // expected-error @below {{is operation 2 and uses buffer "a", which lives from 0 to 1 (C6 of plan.function)}}
  plan.launch "x" @k::@step(%a, %b)
  plan.return [] ()
}

// -----

// C6, past the last operation
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 arena 1024 {
  // expected-error @below {{lives to operation 3, there are 1 (C6 of plan.function)}}
  %a = plan.buffer "a" temporary rows 4 of 16 at <offset = 0, first = 0, last = 3> : f32
  plan.launch "x" @k::@make(%a)
  plan.return [] ()
}

// -----

// C6, an output that dies
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 arena 1024 {
  %a = plan.buffer "a" output rows 4 of 16 at <offset = 0, first = 0, last = 0> : f32
  %b = plan.buffer "b" temporary rows 4 of 16 at <offset = 256, first = 1, last = 1> : f32
  plan.launch "x" @k::@make(%a)
  plan.launch "x" @k::@make(%b)
  // expected-error @below {{buffer "a" lives to 0, but outputs live to operation 1 (C6 of plan.function)}}
  plan.return ["a"](%a)
}

// -----

// C7
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 arena 1024 {
  %a = plan.buffer "a" temporary rows 4 of 16 at <offset = 0, first = 0, last = 1> : f32
  // expected-error @below {{overlaps buffer "a" while both live (C7 of plan.function)}}
  %b = plan.buffer "b" temporary rows 4 of 16 at <offset = 192, first = 1, last = 1> : f32
  plan.launch "x" @k::@make(%a)
  plan.launch "x" @k::@step(%a, %b)
  plan.return [] ()
}

// -----

// C8
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{reads buffer "a" before it is written (C8 of plan.function)}}
  plan.launch "x" @k::@step(%a, %b)
  plan.return [] ()
}

// -----

// C8, streams
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 1 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a) stream 1
  plan.signal 0
  plan.wait 0
  // expected-error @below {{reads buffer "a", which another stream writes without a wait in between (C8 of plan.function)}}
  plan.launch "x" @k::@step(%a, %b)
  plan.return [] ()
}

// -----

// C9
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 1 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 1 by %a slots 4
  plan.signal 0
  plan.wait 0 stream 1
  plan.page_in @cache layer 1 slot 0 slots 4 stream 1
  // expected-error @below {{does not wait for operation 4 of another stream, which fetches pages of its layer (C9 of plan.function)}}
  plan.launch "x" @k::@attend(@cache, %b) immediates [1]
  plan.return [] ()
}

// -----

// C9, a signal before the fetch
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 2 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 1 by %a slots 4
  plan.signal 0
  plan.wait 0 stream 1
  plan.signal 1 stream 1
  plan.page_in @cache layer 1 slot 0 slots 4 stream 1
  plan.wait 1
  // expected-error @below {{does not wait for operation 5 of another stream, which fetches pages of its layer (C9 of plan.function)}}
  plan.launch "x" @k::@attend(@cache, %b) immediates [1]
  plan.return [] ()
}

// -----

// C10, twice
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 events 1 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.signal 0
  // expected-error @below {{event 0 is signalled twice (C10 of plan.function)}}
  plan.signal 0
  plan.return [] ()
}

// -----

// C10, no signal before
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 events 1 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{event 0 is waited for before it is signalled (C10 of plan.function)}}
  plan.wait 0
  plan.signal 0
  plan.return [] ()
}

// -----

// C10, out of range
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 events 1 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{event 1 is not below the function's events (C10 of plan.function)}}
  plan.signal 1
  plan.return [] ()
}

// -----

// C11
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{stream must be below 1, got 1 (C11 of plan.function)}}
  plan.launch "x" @k::@make(%a) stream 1
  plan.return [] ()
}

// -----

// C12
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{fetches pages of layer 0 that no operation selects before it (C12 of plan.function)}}
  plan.page_in @cache layer 0 slot 0 slots 1
  plan.return [] ()
}

// -----

// C9, slots taken again
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 4
  plan.page_in @cache layer 0 slot 0 slots 4
  plan.launch "x" @k::@attend(@cache, %b) immediates [0]
  plan.select_pages @cache layer 1 by %a slots 2
  plan.page_in @cache layer 1 slot 2 slots 2
  plan.launch "x" @k::@attend(@cache, %b) immediates [1]
  // expected-error @below {{reads pages whose slots operation 5 has taken (C9 of plan.function)}}
  plan.launch "x" @k::@attend(@cache, %b) immediates [0]
  plan.return [] ()
}

// -----

// C12, a selection on another stream
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 4
  // expected-error @below {{does not wait for operation 1 of another stream, which selects pages of its layer (C12 of plan.function)}}
  plan.page_in @cache layer 0 slot 0 slots 4 stream 1
  plan.return [] ()
}

// -----

// C12, a selection of another size
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 4
  // expected-error @below {{fetches into 2 slots, operation 1 selects for 4 (C12 of plan.function)}}
  plan.page_in @cache layer 0 slot 0 slots 2
  plan.return [] ()
}

// -----

// C13
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 3
  // expected-error @below {{ends at slot 5, the cache has 4 (C13 of plan.function)}}
  plan.page_in @cache layer 0 slot 2 slots 3
  plan.return [] ()
}

// -----

// C14, pages that nothing has read
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 2
  plan.page_in @cache layer 0 slot 1 slots 2
  plan.select_pages @cache layer 1 by %a slots 2
  // An append does not read what was fetched.
  plan.launch "x" @k::@append(%a, @cache) immediates [0]
  // expected-error @below {{takes slots of pages that operation 2 fetched and no launch has read (C14 of plan.function)}}
  plan.page_in @cache layer 1 slot 2 slots 2
  plan.return [] ()
}

// -----

// C14, a reader that may still run
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 1 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 2
  plan.page_in @cache layer 0 slot 0 slots 2
  plan.select_pages @cache layer 1 by %a slots 2
  plan.signal 0
  plan.wait 0 stream 1
  plan.launch "x" @k::@attend(@cache, %b) immediates [0]
  // expected-error @below {{takes slots of pages without a wait for operation 6, which reads them (C14 of plan.function)}}
  plan.page_in @cache layer 1 slot 0 slots 2 stream 1
  plan.return [] ()
}

// -----

// C14, at the end
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
// expected-error @below {{operation 2 fetches pages that no launch reads (C14 of plan.function)}}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 2
  plan.page_in @cache layer 0 slot 0 slots 2
  plan.launch "x" @k::@attend(@cache, %b) immediates [1]
  plan.return [] ()
}

// -----

// C15, behind an append
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.launch "x" @k::@append(%a, @cache) immediates [0]
  // expected-error @below {{comes behind operation 1, which uses pages of its layer (C15 of plan.function)}}
  plan.page_out @cache layer 0 pages 1
  plan.return [] ()
}

// -----

// C15, a launch behind it
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.page_out @cache layer 0 pages 1 stream 1
  // Another layer is free.
  plan.launch "x" @k::@attend(@cache, %b) immediates [1]
  // expected-error @below {{does not wait for operation 1 of another stream, which moves out pages of its layer (C15 of plan.function)}}
  plan.launch "x" @k::@append(%a, @cache) immediates [0]
  plan.return [] ()
}

// -----

// C15, a fetch behind it
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.page_out @cache layer 0 pages 1 stream 1
  plan.select_pages @cache layer 0 by %a slots 2
  // expected-error @below {{does not wait for operation 1 of another stream, which moves out pages of its layer (C15 of plan.function)}}
  plan.page_in @cache layer 0 slot 0 slots 2
  plan.return [] ()
}

// -----

// C15, a fetch before it
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 2
  plan.page_in @cache layer 0 slot 0 slots 2
  // expected-error @below {{comes behind operation 2, which fetches pages of its layer (C15 of plan.function)}}
  plan.page_out @cache layer 0 pages 1 stream 1
  plan.return [] ()
}

// -----

// C12, a fetch ahead where nothing is selected
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{operation 1 fetches ahead for layer 0, where nothing is selected (C12 of plan.function)}}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.page_in @cache layer 0 slot 0 slots 2 ahead
  plan.launch "x" @k::@attend(@cache, %b) immediates [0]
  plan.return [] ()
}

// -----

// C14, a correction over other slots than what it corrects
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.page_in @cache layer 0 slot 0 slots 2 ahead
  plan.select_pages @cache layer 0 by %a slots 2
  // expected-error @below {{fetches into slots from 2 on, operation 1 ahead of it into 2 slots from 0 on (C14 of plan.function)}}
  plan.page_in @cache layer 0 slot 2 slots 2
  plan.return [] ()
}

// -----

// C14, a correction that does not wait for what it corrects
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.page_in @cache layer 0 slot 0 slots 2 ahead stream 1
  plan.select_pages @cache layer 0 by %a slots 2
  // expected-error @below {{does not wait for operation 1 of another stream, which fetches pages of its layer (C14 of plan.function)}}
  plan.page_in @cache layer 0 slot 0 slots 2
  plan.return [] ()
}

// -----

// C14, a correction while what it corrects is read
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.page_in @cache layer 0 slot 0 slots 2 ahead stream 1
  plan.signal 0 stream 1
  plan.wait 0
  plan.select_pages @cache layer 0 by %a slots 2
  plan.signal 1
  plan.launch "x" @k::@append(%a, @cache) immediates [0]
  plan.wait 1 stream 1
  plan.page_in @cache layer 0 slot 0 slots 2 stream 1
  plan.signal 2 stream 1
  plan.wait 2
  plan.launch "x" @k::@attend(@cache, %b) immediates [0]
  // expected-error @below {{takes slots of pages without a wait for operation 11, which reads them (C14 of plan.function)}}
  plan.page_in @cache layer 1 slot 0 slots 2 ahead stream 1
  plan.return [] ()
}

// -----

// C15, a move out behind a fetch ahead
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.page_in @cache layer 0 slot 0 slots 2 ahead
  // expected-error @below {{comes behind operation 1, which fetches pages of its layer (C15 of plan.function)}}
  plan.page_out @cache layer 0 pages 2
  plan.return [] ()
}

// -----

// C16
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.page_in @cache layer 0 slot 0 slots 2 ahead
  plan.launch "x" @k::@attend(@cache, %b) immediates [0]
  plan.select_pages @cache layer 0 by %a slots 2
  // expected-error @below {{reads pages that operation 3 selects and none behind it fetches (C16 of plan.function)}}
  plan.launch "x" @k::@attend(@cache, %b) immediates [0]
  plan.return [] ()
}

// -----

// C17
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
// expected-error @below {{operation 1 uses layer 1 of a paged cache, whose pages none moves out (C17 of plan.function)}}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 streams 2 events 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.launch "x" @k::@append(%a, @cache) immediates [1]
  plan.return [] ()
}

// -----

// plan.buffer C1
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  // expected-error @below {{rows and elements of a row must be positive, got 0 of 16 (C1)}}
  %a = plan.buffer "a" temporary rows 0 of 16 : f32
  plan.return [] ()
}

// -----

// C1, size
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  // expected-error @below {{size must fit 48 bits, got 4294967296 rows of 4294967296 (C1)}}
  %a = plan.buffer "a" temporary rows 4294967296 of 4294967296 : f32
  plan.return [] ()
}

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  // expected-error @below {{element type must be f32, f16, bf16, i64, i32, i8, ui8 or i4, got 'f64' (C2)}}
  %a = plan.buffer "a" temporary rows 1 of 16 : f64
  plan.return [] ()
}

// -----

// plan.launch C1
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{@k::@nothing is not an entry (C1)}}
  plan.launch "x" @k::@nothing(%a)
  plan.return [] ()
}

// -----

// C1, another target
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @u tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{@k::@make is code for @t, the function's target is @u (C1)}}
  plan.launch "x" @k::@make(%a)
  plan.return [] ()
}

// -----

// C2, count
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{binds 2 values, the entry has 1 parameters (C2)}}
  plan.launch "x" @k::@make(%a, %b)
  plan.return [] ()
}

// -----

// C2, kind
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 scratch 64 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{binding 0 must be a tensor (C2)}}
  plan.launch "x" @k::@norm(%a, %b)
  plan.return [] ()
}

// -----

// C3
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 3 of 16 : f32
  // expected-error @below {{binding 0 has 192 bytes, the entry needs 256 (C3)}}
  plan.launch "x" @k::@make(%a)
  plan.return [] ()
}

// -----

// C4
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.kv_cache @big target @t layers 2 <heads = 2, head_dim = 16, block = 16, type = f32>
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{binding 0 is a cache of #plan.page<heads = 2, head_dim = 16, block = 16, type = f32> for @t, the entry takes #plan.page<heads = 1, head_dim = 16, block = 16, type = f32> for @t (C4)}}
  plan.launch "x" @k::@attend(@big, %a) immediates [0]
  plan.return [] ()
}

// -----

// C5
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{binds the buffer that it writes a second time, and the entry does not work in place there (C5)}}
  plan.launch "x" @k::@step(%a, %a)
  plan.return [] ()
}

// -----

// C6
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{has 0 immediates, the entry takes 1 (C6)}}
  plan.launch "x" @k::@attend(@cache, %a)
  plan.return [] ()
}

// -----

// C6, layer
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{layer must be below the cache's 2, got 2 (C6)}}
  plan.launch "x" @k::@attend(@cache, %a) immediates [2]
  plan.return [] ()
}

// -----

// C7
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 scratch 64 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{binding 0 is a tensor of other, which is not for @t (C7)}}
  plan.launch "x" @k::@norm(@o, %a)
  plan.return [] ()
}

// -----

// C8
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{needs 64 bytes of scratch, the function has 0 (C8)}}
  plan.launch "x" @k::@norm(@w, %a)
  plan.return [] ()
}

// -----

// C8
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] shared 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 shared 128 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{needs 64 bytes of shared memory for each of 4 tokens, the function has 128 (C8)}}
  plan.launch "x" @k::@norm(@w, %a)
  plan.return [] ()
}

// -----

// plan.copy C1
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{copies a buffer to itself (C1)}}
  plan.copy %a to %a bytes 4
  plan.return [] ()
}

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{length must be in 1..256, got 257 (C2)}}
  plan.copy %a to %b bytes 257
  plan.return [] ()
}

// -----

// plan.select_pages C1
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{layer must be below the cache's 2, got 2 (C1)}}
  plan.select_pages @cache layer 2 by %a slots 1
  plan.return [] ()
}

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{slots must be positive, got 0 (C2)}}
  plan.select_pages @cache layer 0 by %a slots 0
  plan.return [] ()
}

// -----

// plan.page_in C1
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{layer must be below the cache's 2, got 2 (C1)}}
  plan.page_in @cache layer 2 slot 0 slots 1
  plan.return [] ()
}

// -----

// C1, of a cache that is not paged
plan.target @t isa "x86-64-v3"
plan.segment @code executable inline for [@t]
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @append params [#plan.param<buffer, per_token = 64>, #plan.param<kv_cache, access = read_write, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>] immediates [#plan.immediate<layer>]
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{@cache is not paged (C1)}}
  plan.page_in @cache layer 1 slot 0 slots 1 ahead
  plan.select_pages @cache layer 1 by %a slots 1
  plan.page_in @cache layer 1 slot 0 slots 1
  plan.launch "x" @k::@attend(@cache, %b) immediates [1]
  plan.return [] ()
}

// -----

// plan.page_in C2
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  plan.select_pages @cache layer 0 by %a slots 1
  // expected-error @below {{slots must be positive and the first not negative, got 1 and -1 (C2)}}
  plan.page_in @cache layer 0 slot -1 slots 1
  plan.return [] ()
}

// -----

// C1, a name
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{@w is not a KV cache (C1)}}
  plan.page_out @w layer 0 pages 1
  plan.return [] ()
}

// -----

// plan.page_out C1
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{layer must be below the cache's 2, got -1 (C1)}}
  plan.page_out @cache layer -1 pages 1
  plan.return [] ()
}

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{pages must be at least 1 heads of 2 blocks, got 1 (C2)}}
  plan.page_out @cache layer 0 pages 1
  plan.return [] ()
}

// -----

// the target of an operation
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{@w is not a target (target)}}
  plan.page_out @cache layer 0 pages 2 target @w
  plan.return [] ()
}

// -----

// the time of an operation
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
  paging <hot = 32, sinks = 0, grid = 32, warm = f32, warm_bytes = 2048, pack = @k::@copy, unpack = @k::@copy>
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
  plan.entry @copy params [#plan.param<buffer, bytes = 2048>, #plan.param<buffer, access = write, bytes = 2048>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  // expected-error @below {{ns must be in 0..2^40-1, got 1099511627776}}
  plan.page_out @cache layer 0 pages 2 ns 1099511627776
  plan.return [] ()
}

// -----

// plan.return C1
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" output rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{has 2 names for 1 buffers (C1)}}
  plan.return ["a", "b"](%a)
}

// -----

// C1, twice
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" output rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{names "a" twice (C1)}}
  plan.return ["a", "a"](%a, %a)
}

// -----

// C2
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" temporary rows 4 of 16 : f32
  %b = plan.buffer "b" temporary rows 4 of 16 : f32
  plan.launch "x" @k::@make(%a)
  // expected-error @below {{buffer "a" must have the role output (C2)}}
  plan.return ["a"](%a)
}

// -----

// C2, never written
plan.target @t isa "x86-64-v3"
plan.target @u isa "x86-64-v4"
plan.segment @code executable inline for [@t]
plan.segment @weights weights inline for [@t] length 128
plan.segment @other weights inline for [@u] length 128
plan.tensor @w in @weights offset 0 length 64 layout "rows" : tensor<16xf32>
plan.tensor @o in @other offset 0 length 64 layout "rows" : tensor<16xf32>
plan.kv_cache @cache target @t layers 2 <heads = 1, head_dim = 16, block = 16, type = f32> slots 4
plan.executable @k elf in @code target @t {
  plan.entry @make params [#plan.param<buffer, access = write, per_token = 64>]
  plan.entry @step params [#plan.param<buffer, per_token = 64>, #plan.param<buffer, access = write, per_token = 64>]
  plan.entry @norm params [#plan.param<tensor, bytes = 64>, #plan.param<buffer, access = write, per_token = 64>] scratch 64
  plan.entry @attend params [#plan.param<kv_cache, cache = <heads = 1, head_dim = 16, block = 16, type = f32>>, #plan.param<buffer, access = write, per_token = 64>] immediates [#plan.immediate<layer>]
}
plan.function @f target @t tokens 4 sequences 4 logit_rows 4 {
  %a = plan.buffer "a" output rows 4 of 16 : f32
  // expected-error @below {{buffer "a" is never written (C2)}}
  plan.return ["a"](%a)
}
