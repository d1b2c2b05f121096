// Packs a page of the KV cache into the record that the warm tier keeps of it,
// or unpacks a record into a page. No batch: one page a call, by one worker.
//
// A record of the page's own element is a copy of the page. One of codes is the
// same whatever arithmetic the page is laid out for:
//
//   int8  K codes [block / 16][head_dim][16], V codes [block][head_dim],
//         scales f32 [2][block]: of keys, of values
//   int4  K codes [block / 16][(head_dim + 1) / 2][16], a byte two columns of
//         a key; V codes [block / 2][head_dim], a byte one column of two
//         tokens; then f16 [2][2][block]: scales and offsets of keys, scales
//         and offsets of values. The low half of a byte is the first.
//
// An element is code * scale for int8, with codes as kv_append makes them, and
// code * scale + offset for int4. A key or value with a NaN or an infinity is
// all NaN when it returns, so that it shows.
//
// 16 tokens go by at a time: a pass finds the least and the greatest element of
// each, a second one makes codes. K has a token in each lane. V has a column
// there, so that each row's bounds are reduced and put into the lane of its
// token; from then on the two are alike.
#include "codes.h"
#include "page.h"

STELE_INT(block)
STELE_INT(head_dim)
STELE_INT(warm)    // how records store an element: a schema::KvElement
STELE_INT(unpack)  // 0: page to record; 1: record to page

using namespace stele;

namespace {

STELE_INLINE PageShape Shape() { return {stele_block, stele_head_dim}; }
STELE_INLINE bool IsInt4() {
  return static_cast<KvElement>(stele_warm) == KvElement::kInt4;
}

// Two neighbours of a page: columns of 16 keys, or tokens of 16 columns of V.
struct Pair {
  V16 first, second;
};

STELE_INLINE Pair Split(U16 units) {
  return {reinterpret_cast<V16>(units << 16),
          reinterpret_cast<V16>(units & 0xffff0000u)};
}
STELE_INLINE U16 Join(const Pair& pair) {
  return ToBf16Bits(pair.first) | (ToBf16Bits(pair.second) << 16);
}

// Units [i, i + 16) of a row of head_dim; where it ends, its first one again.
STELE_INLINE U16 LoadRow(const uint32_t* row, int64_t i) {
  const int64_t n = stele_head_dim - i;
  if (n >= kLanes) return LoadUnits(row + i);
  const U16 units = LoadFirstUnits(row + i, n);
  return kIota < static_cast<int32_t>(n) ? units : SplatUnit(row[0]);
}

// A last column without a neighbour is taken twice.
STELE_INLINE Pair LoadKeyPair(const char* page, int64_t key, int64_t column) {
  const char* at = page + Shape().KeyElement(key, column) * ElementBytes();
  if (column + 1 == stele_head_dim) {
    const V16 last = LoadElements(at);
    return {last, last};
  }
  if (kDepth == 2)
    return Split(LoadUnits(reinterpret_cast<const uint32_t*>(at)));
  return {LoadElements(at), LoadElements(at + kLanes * ElementBytes())};
}

STELE_INLINE void StoreKeyPair(char* page, int64_t key, int64_t column,
                               const Pair& pair) {
  typedef uint16_t Halves __attribute__((vector_size(32), aligned(1)));
  char* at = page + Shape().KeyElement(key, column) * ElementBytes();
  const bool has_second = column + 1 < stele_head_dim;
  if (kDepth == 1) {
    Store(reinterpret_cast<float*>(at), pair.first);
    if (has_second) Store(reinterpret_cast<float*>(at) + kLanes, pair.second);
  } else if (has_second) {
    StoreUnits(reinterpret_cast<uint32_t*>(at), Join(pair));
  } else {
    *reinterpret_cast<Halves*>(at) =
        __builtin_convertvector(ToBf16Bits(pair.first), Halves);
  }
}

// Columns [i, i + 16) of V of tokens `row` and `row + 1`.
STELE_INLINE Pair LoadValuePair(const char* page, int64_t row, int64_t i) {
  const auto* at = reinterpret_cast<const uint32_t*>(
      page + Shape().ValueElement(row, 0) * ElementBytes());
  if (kDepth == 2) return Split(LoadRow(at, i));
  return {reinterpret_cast<V16>(LoadRow(at, i)),
          reinterpret_cast<V16>(LoadRow(at + stele_head_dim, i))};
}

STELE_INLINE void StoreValuePair(char* page, int64_t row, int64_t i,
                                 const Pair& pair) {
  auto* at = reinterpret_cast<float*>(page + Shape().ValueElement(row, i) *
                                                 ElementBytes());
  const int64_t n = stele_head_dim - i;
  if (kDepth == 2) return StoreFirst(at, reinterpret_cast<V16>(Join(pair)), n);
  StoreFirst(at, pair.first, n);
  StoreFirst(at + stele_head_dim, pair.second, n);
}

// Floats as integers of the same order, NaNs beyond the infinities.
STELE_INLINE I16 Ordered(V16 v) {
  const I16 bits = reinterpret_cast<I16>(v);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
constexpr int32_t kInfinity = 0x7f800000;

// The least and the greatest element so far, of 16 tokens or in 16 columns.
struct Bounds {
  I16 least = I16{} + INT32_MAX, greatest = I16{} + INT32_MIN;

  STELE_MEMBER void Add(V16 v) {
    const I16 order = Ordered(v);
    least = order < least ? order : least;
    greatest = Max(order, greatest);
  }
};

// How 16 tokens' elements are turned into codes and back.
struct Grid {
  V16 scale, offset, inverse;
};

// Bounds that are not finite are NaN.
STELE_INLINE Grid Int8Grid(V16 least, V16 greatest) {
  const V16 largest = Max(__builtin_elementwise_abs(greatest),
                          __builtin_elementwise_abs(least));
  return {largest / 127.0f, V16{},
          largest >= kLeast ? 127.0f / largest : V16{}};
}

STELE_INLINE V16 RoundToHalves(V16 v) {
  uint16_t halves[kLanes];
  StoreHalves(halves, v);
  return LoadHalves(halves);
}

// Codes are made for scale and offset as they are stored.
STELE_INLINE Grid Int4Grid(V16 least, V16 greatest) {
  const V16 scale = RoundToHalves((greatest - least) / 15.0f);
  return {scale, RoundToHalves(least), scale > 0.0f ? 1.0f / scale : V16{}};
}

STELE_INLINE Grid GridOf(const Bounds& bounds) {
  const I16 is_finite =
      (bounds.greatest < kInfinity) & (bounds.least > ~kInfinity);
  const auto number = [&](I16 order) {
    const V16 v = reinterpret_cast<V16>(Ordered(reinterpret_cast<V16>(order)));
    return is_finite ? v : Splat(__builtin_nanf(""));
  };
  const V16 least = number(bounds.least), greatest = number(bounds.greatest);
  return IsInt4() ? Int4Grid(least, greatest) : Int8Grid(least, greatest);
}

// What has no number has the code 0.
STELE_INLINE I16 ToCodes(V16 v, V16 offset, V16 inverse) {
  if (!IsInt4()) return RoundToInt(v * inverse);
  const I16 codes = Max(RoundToInt((v - offset) * inverse), I16{});
  return codes < 15 ? codes : I16{} + 15;
}

STELE_INLINE V16 FromCodes(I16 codes, V16 scale, V16 offset) {
  const V16 numbers = __builtin_convertvector(codes, V16);
  return IsInt4() ? Fma(numbers, scale, offset) : numbers * scale;
}

STELE_INLINE I16 LoadCodes(const char* at) {
  typedef int8_t Signed __attribute__((vector_size(16), aligned(1)));
  return __builtin_convertvector(*reinterpret_cast<const Signed*>(at), I16);
}

// The first n (from 1 on) of 16 bytes.
STELE_INLINE void StoreCodes(char* at, I16 codes, int64_t n) {
  if (n >= kLanes) return StoreBytes(at, codes);
  char bytes[kLanes];
  StoreBytes(bytes, codes);
#pragma clang loop unroll(disable) vectorize(disable)
  for (int64_t i = 0; i < n; ++i) at[i] = bytes[i];
}

// Where things are in a record: K, V, and what scales the 16 tokens from
// `token` on.
struct Record {
  char* base;

  static int64_t KeyBytes() {  // of a token
    return IsInt4() ? (stele_head_dim + 1) / 2 : stele_head_dim;
  }
  char* Keys(int64_t key) const { return base + key * KeyBytes(); }
  // Of tokens `row` and `row + 1`.
  char* Values(int64_t row) const {
    char* values = base + stele_block * KeyBytes();
    return values + (IsInt4() ? row / 2 : row) * stele_head_dim;
  }
  char* Scales(bool of_values, int64_t token) const {
    char* scales =
        base + schema::KvRecordScales(static_cast<KvElement>(stele_warm),
                                      static_cast<uint64_t>(stele_block),
                                      static_cast<uint64_t>(stele_head_dim));
    const int64_t bytes = IsInt4() ? 2 : 4;
    return scales + (of_values ? 4 * stele_block : 0) + token * bytes;
  }
};

STELE_INLINE void StoreGrid(const Record& record, bool of_values, int64_t token,
                            const Grid& grid) {
  char* at = record.Scales(of_values, token);
  if (!IsInt4()) return Store(reinterpret_cast<float*>(at), grid.scale);
  StoreHalves(at, grid.scale);
  StoreHalves(at + 2 * stele_block, grid.offset);
}

STELE_INLINE Grid LoadGrid(const Record& record, bool of_values,
                           int64_t token) {
  const char* at = record.Scales(of_values, token);
  if (!IsInt4())
    return {Load(reinterpret_cast<const float*>(at)), V16{}, V16{}};
  return {LoadHalves(at), LoadHalves(at + 2 * stele_block), V16{}};
}

// Of one token, in all lanes.
STELE_INLINE Grid RowOf(const Grid& grid, int64_t row) {
  float lanes[3][kLanes];
  Store(lanes[0], grid.scale);
  Store(lanes[1], grid.offset);
  Store(lanes[2], grid.inverse);
  return {Splat(lanes[0][row]), Splat(lanes[1][row]), Splat(lanes[2][row])};
}

STELE_INLINE void PackKeys(const char* page, const Record& record,
                           int64_t key) {
  Bounds bounds;
  for (int64_t column = 0; column < stele_head_dim; column += 2) {
    const Pair pair = LoadKeyPair(page, key, column);
    bounds.Add(pair.first);
    bounds.Add(pair.second);
  }
  const Grid grid = GridOf(bounds);
  StoreGrid(record, /*of_values=*/false, key, grid);
  char* to = record.Keys(key);
  for (int64_t column = 0; column < stele_head_dim; column += 2) {
    const Pair pair = LoadKeyPair(page, key, column);
    const I16 first = ToCodes(pair.first, grid.offset, grid.inverse);
    const I16 second = ToCodes(pair.second, grid.offset, grid.inverse);
    if (IsInt4()) {
      StoreBytes(to + column / 2 * kLanes, first | (second << 4));
      continue;
    }
    StoreBytes(to + column * kLanes, first);
    if (column + 1 < stele_head_dim)
      StoreBytes(to + (column + 1) * kLanes, second);
  }
}

STELE_INLINE void PackValues(const char* page, const Record& record,
                             int64_t token) {
  int32_t least[kLanes], greatest[kLanes];
  for (int64_t row = 0; row < kLanes; row += 2) {
    Bounds bounds[2];
    for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
      const Pair pair = LoadValuePair(page, token + row, i);
      bounds[0].Add(pair.first);
      bounds[1].Add(pair.second);
    }
    for (int64_t i = 0; i < 2; ++i) {
      least[row + i] = ~MaxLane(~bounds[i].least);
      greatest[row + i] = MaxLane(bounds[i].greatest);
    }
  }
  Bounds bounds;
  __builtin_memcpy(&bounds.least, least, sizeof(least));
  __builtin_memcpy(&bounds.greatest, greatest, sizeof(greatest));
  const Grid grid = GridOf(bounds);
  StoreGrid(record, /*of_values=*/true, token, grid);
  for (int64_t row = 0; row < kLanes; row += 2) {
    const Grid first = RowOf(grid, row), second = RowOf(grid, row + 1);
    char* to = record.Values(token + row);
    for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
      const int64_t n = stele_head_dim - i;
      const Pair pair = LoadValuePair(page, token + row, i);
      const I16 a = ToCodes(pair.first, first.offset, first.inverse);
      const I16 b = ToCodes(pair.second, second.offset, second.inverse);
      if (IsInt4()) {
        StoreCodes(to + i, a | (b << 4), n);
        continue;
      }
      StoreCodes(to + i, a, n);
      StoreCodes(to + stele_head_dim + i, b, n);
    }
  }
}

STELE_INLINE void UnpackKeys(const Record& record, char* page, int64_t key) {
  const Grid grid = LoadGrid(record, /*of_values=*/false, key);
  const char* from = record.Keys(key);
  for (int64_t column = 0; column < stele_head_dim; column += 2) {
    I16 first, second;
    if (IsInt4()) {
      const I16 both = LoadCodes(from + column / 2 * kLanes);
      first = both & 15;
      second = (both >> 4) & 15;
    } else {
      // The last column has no neighbour; what is read instead is not stored.
      first = LoadCodes(from + column * kLanes);
      second = LoadCodes(from + (column + 1) * kLanes);
    }
    StoreKeyPair(page, key, column,
                 {FromCodes(first, grid.scale, grid.offset),
                  FromCodes(second, grid.scale, grid.offset)});
  }
}

STELE_INLINE void UnpackValues(const Record& record, char* page,
                               int64_t token) {
  const Grid grid = LoadGrid(record, /*of_values=*/true, token);
  for (int64_t row = 0; row < kLanes; row += 2) {
    const Grid first = RowOf(grid, row), second = RowOf(grid, row + 1);
    const char* from = record.Values(token + row);
    for (int64_t i = 0; i < stele_head_dim; i += kLanes) {
      // Behind the last column are further rows or the scales.
      I16 a, b;
      if (IsInt4()) {
        const I16 both = LoadCodes(from + i);
        a = both & 15;
        b = (both >> 4) & 15;
      } else {
        a = LoadCodes(from + i);
        b = LoadCodes(from + stele_head_dim + i);
      }
      StoreValuePair(page, token + row, i,
                     {FromCodes(a, first.scale, first.offset),
                      FromCodes(b, second.scale, second.offset)});
    }
  }
}

STELE_INLINE void Copy(const char* from, char* to) {
  for (int64_t i = 0; i < Shape().Bytes(); i += sizeof(U16))
    StoreUnits(reinterpret_cast<uint32_t*>(to + i),
               LoadUnits(reinterpret_cast<const uint32_t*>(from + i)));
}

}  // namespace

STELE_ENTRY {
  Bindings bindings(args);
  char* from = bindings.Next<char>();  // a page, or a record
  char* to = bindings.Next<char>();    // the other
  if (stele_warm == stele_kv) return Copy(from, to);
  for (int64_t token = 0; token < stele_block; token += kLanes) {
    if (stele_unpack) {
      UnpackKeys({from}, to, token);
      UnpackValues({from}, to, token);
    } else {
      PackKeys(from, {to}, token);
      PackValues(from, {to}, token);
    }
  }
}
