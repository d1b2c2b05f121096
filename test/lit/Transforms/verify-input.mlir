// RUN: stele-opt --stele-verify-input -split-input-file -verify-diagnostics %s

// What a good module is; it comes out as it went in.
!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
// expected-error@+1 {{needs a #lm.model as 'lm.model'}}
module {
  lm.weight @w : tensor<9x32xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
// expected-error@+1 {{must have exactly one function, @forward}}
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  func.func @main(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  // expected-error@+1 {{is not a weight or function}}
  module {}
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %0 = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    // expected-error@+1 {{'builtin.unrealized_conversion_cast' op is not an lm operation}}
    %1 = builtin.unrealized_conversion_cast %0 : tensor<?x32xf32> to tensor<?x9xf32>
    return %1 : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  // expected-error@+1 {{must take ('tensor<?xi32>', !lm.batch, !lm.kv_cache<...>)}}
  func.func @forward(%t: tensor<?xi32>, %c: !cache, %b: !lm.batch) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  // expected-error@+1 {{must return 'tensor<?x9xf32>'}}
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x32xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %a : tensor<?x32xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  // expected-error@+1 {{has a cache of '!lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>', lm.model says layers = 1, heads = 2, head_dim = 16}}
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 2, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  // expected-error@+1 {{never appends keys and values of layer 1}}
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c1, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 2, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    // expected-error@+1 {{must append to the newest cache}}
    %c2 = lm.kv_append %h, %h, %c, %b layer 1 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c2, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    // expected-error@+1 {{appends layer 0 a second time}}
    %c2 = lm.kv_append %h, %h, %c1, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %a = lm.attention %h, %c2, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    // expected-error@+1 {{must read the newest cache}}
    %a = lm.attention %h, %c, %b layer 0 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 2, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 2, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> tensor<?x9xf32> {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %c1 = lm.kv_append %h, %h, %c, %b layer 0 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    // expected-error@+1 {{reads layer 1 before this step's keys and values were appended}}
    %a = lm.attention %h, %c1, %b layer 1 heads 2 scale 0.25 : tensor<?x32xf32>, !cache -> tensor<?x32xf32>
    %c2 = lm.kv_append %h, %h, %c1, %b layer 1 : tensor<?x32xf32>, tensor<?x32xf32>, !cache
    %l = lm.logits %a, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l : tensor<?x9xf32>
  }
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  // expected-error@+1 {{must have a body of one block}}
  func.func private @forward(tensor<?xi32>, !lm.batch, !cache) -> tensor<?x9xf32>
}

// -----

!cache = !lm.kv_cache<layers = 1, heads = 2, head_dim = 16, block = 128, f32>
module attributes {lm.model = #lm.model<architecture = "llama", name = "t", vocab = 9, hidden = 32, layers = 1, heads = 2, kv_heads = 2, head_dim = 16, context_length = 64, trained_context = 64, parameters = 1, eos = [2]>} {
  lm.weight @w : tensor<9x32xf32>
  // expected-error@+1 {{must return rows with a name (lm.name) behind the logits, got 'tensor<?x32xf32>' as result 1}}
  func.func @forward(%t: tensor<?xi32>, %b: !lm.batch, %c: !cache) -> (tensor<?x9xf32>, tensor<?x32xf32>) {
    %h = lm.embed %t, @w : tensor<?xi32> -> tensor<?x32xf32>
    %l = lm.logits %h, %b, @w : tensor<?x32xf32> -> tensor<?x9xf32>
    return %l, %h : tensor<?x9xf32>, tensor<?x32xf32>
  }
}
