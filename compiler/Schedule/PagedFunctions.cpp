// Layers from launches, and the bound of their choice (PagedFunctions.h).

#include "stele/compiler/Schedule/PagedFunctions.h"
#include "stele/schema/block_selection.h"
#include "stele/schema/kv_page.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace stele;
using namespace stele::compiler;
using namespace stele::plan_ir;

int64_t PageGrid::fallenAt(int64_t blockIndex) const {
  return schema::KvFallen(blockIndex * block, hot, cell, sinks, block) - sinks;
}

int64_t PageGrid::fallen() const {
  return fallenAt(std::max<int64_t>(0, context - 1) / block);
}

int64_t PageGrid::hotBlocks() const {
  return schema::KvHotBlocks(llvm::divideCeil(context, block), hot, cell, sinks,
                             block);
}

int64_t PagedFunction::selecting() const {
  return llvm::count_if(layers,
                        [](const PagedLayer &l) { return l.selects(); });
}

/// Steps do not leave a cell.
int64_t PagedFunction::queryBlocks(const PageGrid &grid) const {
  return std::min(int64_t(schema::TouchedBlocks(tokens, grid.block)),
                  grid.blocksOfCell());
}

int64_t PagedFunction::mostChosen(const PageGrid &grid) const {
  int64_t most = 0;
  for (const PagedLayer &layer : layers) {
    if (!layer.selects())
      continue;
    // Query blocks below `dense` keep all that fell out before them.
    int64_t dense =
        layer.choice.dense > 0 ? grid.fallenAt(layer.choice.dense - 1) : 0;
    most = std::max<int64_t>(most, schema::MostRead(grid.fallen(),
                                                    *layer.choice.chosen, dense,
                                                    queryBlocks(grid)));
  }
  return most * grid.heads;
}

namespace {

/// Sorts the launches of one function that bind the cache by layer.
class LayerFinder {
public:
  LayerFinder(FunctionOp function, KvCacheOp cache,
              SymbolTableCollection &symbols,
              function_ref<InFlightDiagnostic()> refuse)
      : function(function), cache(cache), symbols(symbols), refuse(refuse) {}

  FailureOr<SmallVector<PagedLayer>> run() {
    for (auto launch : function.getBody().getOps<LaunchOp>()) {
      EntryOp entry = launch.lookupEntry(symbols);
      LogicalResult result = success();
      launch.visitCaches(
          entry, [&](ParameterAttr parameter, FlatSymbolRefAttr name) {
            if (name.getAttr() == cache.getSymNameAttr() && succeeded(result))
              result = add(launch, entry, writes(parameter.getAccess()));
          });
      if (failed(result))
        return failure();
    }
    SmallVector<PagedLayer> list;
    for (auto &[number, layer] : layers) {
      if (layer.select && !layer.attention)
        return refuse() << "layer " << number
                        << " selects blocks that nothing attends to";
      list.push_back(layer);
    }
    return list;
  }

private:
  LogicalResult add(LaunchOp launch, EntryOp entry, bool appends) {
    if (launch.getImmediates().size() != 1)
      return refuse() << launch.getLabelAttr()
                      << " does not say which layer's pages it uses";
    int64_t number = launch.getImmediates().front();
    PagedLayer &layer = layers[number];
    layer.layer = number;
    if (!layer.first)
      layer.first = launch;
    if (appends)
      return success();
    if (isMadeFrom(entry, "select_blocks"))
      return addSelection(layer, launch, entry);
    if (isMadeFrom(entry, "tail_attention")) // of the cache its index only
      return success();
    if (isMadeFrom(entry, "block_sparse")) {
      layer.attention = launch;
      if (!layer.select)
        layer.choice = BlockChoice::of(entry);
      return success();
    }
    layer.window = constantOf(entry, "window").value_or(0);
    if (isMadeFrom(entry, "attention") && layer.window > 0)
      return success();
    return refuse() << "layer " << number
                    << " attends to all pages, so that none can leave; compile "
                       "with --attention sparse";
  }

  LogicalResult addSelection(PagedLayer &layer, LaunchOp launch,
                             EntryOp entry) {
    layer.select = launch;
    layer.selection = launch.getBuffers().back();
    layer.choice = BlockChoice::of(entry);
    if (layer.choice.chosen)
      return success();
    return refuse() << "layer " << layer.layer
                    << " chooses as many blocks as a mass takes, which no "
                       "slots can be proven to hold; compile with "
                       "--max-blocks N beside --mass, or with --density or "
                       "--top-k instead";
  }

  FunctionOp function;
  KvCacheOp cache;
  SymbolTableCollection &symbols;
  function_ref<InFlightDiagnostic()> refuse;
  llvm::MapVector<int64_t, PagedLayer> layers;
};

} // namespace

FailureOr<PagedFunction>
compiler::findLayers(FunctionOp function, KvCacheOp cache, int64_t context,
                     SymbolTableCollection &symbols,
                     function_ref<InFlightDiagnostic()> refuse) {
  FailureOr<SmallVector<PagedLayer>> layers =
      LayerFinder(function, cache, symbols, refuse).run();
  if (failed(layers))
    return failure();
  return PagedFunction{function, int64_t(function.getTokens()),
                       function.getTokens() == function.getSequences(),
                       ModelledStep::of(function, context), *layers};
}
