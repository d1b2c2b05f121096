// Reads, maps, relocates and protects an ELF image; see elf_loader.h.
#include "stele/runtime/device/host/elf_loader.h"

#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "stele/runtime/base/checked.h"
#include "stele/runtime/base/format.h"

namespace stele {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMaxImage = 1ull << 31;

Status Bad(const std::string& what) { return DataLoss("ELF image: " + what); }

uint64_t PageDown(uint64_t n) { return n / kPage * kPage; }
uint64_t PageUp(uint64_t n) { return (n + kPage - 1) / kPage * kPage; }

}  // namespace

// One load: holds what the steps pass on to each other.
class ElfReader {
 public:
  explicit ElfReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  Result<std::unique_ptr<ElfImage>> Load();

 private:
  // The dynamic section's entries that matter here.
  struct Dynamic {
    uint64_t symtab = 0, strtab = 0, strsz = 0;
    uint64_t rela = 0, relasz = 0;
    uint64_t hash = 0, gnu_hash = 0;
  };

  Status ReadHeader();
  Status ReadSegments();
  Status CheckSegment(const Elf64_Phdr& segment) const;
  Status MapSegments();
  Status ReadDynamic();
  Status AddDynamic(const Elf64_Dyn& entry);
  Status Relocate();
  Status ReadSymbols();
  Status AddSymbol(const Elf64_Sym& symbol);
  Result<uint64_t> CountSymbols() const;
  Result<uint64_t> CountGnuSymbols() const;
  Status Protect();

  // A T of the file or of the mapped image; nothing when out of range.
  template <typename T>
  std::optional<T> FileAt(uint64_t offset) const;
  template <typename T>
  std::optional<T> ImageAt(uint64_t address) const;
  bool IsIn(uint64_t address, uint64_t length, uint32_t flags) const;

  std::span<const uint8_t> bytes_;
  Elf64_Ehdr header_;
  std::vector<Elf64_Phdr> loads_;  // ascending addresses
  Elf64_Phdr dynamic_segment_ = {};
  Dynamic dynamic_;
  std::unique_ptr<ElfImage> image_;
};

template <typename T>
std::optional<T> ElfReader::FileAt(uint64_t offset) const {
  if (!RangeFits(offset, sizeof(T), bytes_.size())) return std::nullopt;
  T value;
  std::memcpy(&value, bytes_.data() + offset, sizeof value);
  return value;
}

template <typename T>
std::optional<T> ElfReader::ImageAt(uint64_t address) const {
  if (!RangeFits(address, sizeof(T), image_->size_)) return std::nullopt;
  T value;
  std::memcpy(&value, image_->base_ + address, sizeof value);
  return value;
}

// Whether the range lies in one segment that has all of `flags`.
bool ElfReader::IsIn(uint64_t address, uint64_t length, uint32_t flags) const {
  return std::any_of(loads_.begin(), loads_.end(), [&](const auto& load) {
    return (load.p_flags & flags) == flags && address >= load.p_vaddr &&
           RangeFits(address - load.p_vaddr, length, load.p_memsz);
  });
}

Result<std::unique_ptr<ElfImage>> ElfReader::Load() {
  STELE_RETURN_IF_ERROR(ReadHeader());
  STELE_RETURN_IF_ERROR(ReadSegments());
  STELE_RETURN_IF_ERROR(MapSegments());
  STELE_RETURN_IF_ERROR(ReadDynamic());
  STELE_RETURN_IF_ERROR(Relocate());
  STELE_RETURN_IF_ERROR(ReadSymbols());
  STELE_RETURN_IF_ERROR(Protect());
  return std::move(image_);
}

Status ElfReader::ReadHeader() {
  const auto header = FileAt<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
    return Bad("no ELF header");
  header_ = *header;
  if (header_.e_ident[EI_CLASS] != ELFCLASS64 ||
      header_.e_ident[EI_DATA] != ELFDATA2LSB ||
      header_.e_machine != EM_X86_64 || header_.e_type != ET_DYN)
    return Bad("not a 64-bit x86-64 shared object");
  if (header_.e_phentsize != sizeof(Elf64_Phdr))
    return Bad(Format("e_phentsize is %u", header_.e_phentsize));
  return OkStatus();
}

Status ElfReader::ReadSegments() {
  for (uint64_t i = 0; i < header_.e_phnum; ++i) {
    const auto offset = CheckedAdd(header_.e_phoff, i * sizeof(Elf64_Phdr));
    const auto segment = offset ? FileAt<Elf64_Phdr>(*offset) : std::nullopt;
    if (!segment) return Bad("program headers pass the end");
    switch (segment->p_type) {
      case PT_LOAD:
        STELE_RETURN_IF_ERROR(CheckSegment(*segment));
        loads_.push_back(*segment);
        break;
      case PT_DYNAMIC:
        dynamic_segment_ = *segment;
        break;
      case PT_INTERP:
      case PT_TLS:
        return Bad(Format("segment type %u is not allowed", segment->p_type));
      default:  // notes, unwind tables, stack flags: nothing to load
        break;
    }
  }
  if (loads_.empty()) return Bad("no segment to load");
  if (dynamic_segment_.p_memsz == 0) return Bad("no dynamic section");
  return OkStatus();
}

Status ElfReader::CheckSegment(const Elf64_Phdr& segment) const {
  if ((segment.p_flags & PF_W) && (segment.p_flags & PF_X))
    return Bad("a segment is writable and executable");
  if (!RangeFits(segment.p_offset, segment.p_filesz, bytes_.size()))
    return Bad("a segment passes the end of the image");
  if (segment.p_filesz > segment.p_memsz)
    return Bad("a segment's file size is beyond its memory size");
  if (!RangeFits(segment.p_vaddr, segment.p_memsz, kMaxImage))
    return Bad("a segment lies beyond 2 GiB");
  // Protections work on pages, so no two segments may share one.
  if (!loads_.empty() &&
      PageDown(segment.p_vaddr) <
          PageUp(loads_.back().p_vaddr + loads_.back().p_memsz))
    return Bad("segments overlap, share a page or are out of order");
  return OkStatus();
}

Status ElfReader::MapSegments() {
  const uint64_t size = PageUp(loads_.back().p_vaddr + loads_.back().p_memsz);
  if (size == 0) return Bad("no segment to load");
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    return ResourceExhausted("cannot map " + FormatBytes(size) +
                             " for the kernels");
  image_.reset(new ElfImage(static_cast<uint8_t*>(base), size));
  for (const Elf64_Phdr& load : loads_)
    std::memcpy(image_->base_ + load.p_vaddr, bytes_.data() + load.p_offset,
                load.p_filesz);
  return OkStatus();
}

Status ElfReader::ReadDynamic() {
  const uint64_t count = dynamic_segment_.p_memsz / sizeof(Elf64_Dyn);
  for (uint64_t i = 0; i < count; ++i) {
    const auto address =
        CheckedAdd(dynamic_segment_.p_vaddr, i * sizeof(Elf64_Dyn));
    const auto entry = address ? ImageAt<Elf64_Dyn>(*address) : std::nullopt;
    if (!entry) return Bad("the dynamic section passes the image");
    if (entry->d_tag == DT_NULL) return OkStatus();
    STELE_RETURN_IF_ERROR(AddDynamic(*entry));
  }
  return Bad("the dynamic section has no end");
}

Status ElfReader::AddDynamic(const Elf64_Dyn& entry) {
  const uint64_t value = entry.d_un.d_val;
  const auto must_be = [&](uint64_t size, const char* name) {
    return value == size ? OkStatus() : Bad(std::string(name) + " is wrong");
  };
  switch (entry.d_tag) {
    case DT_SYMTAB:
      dynamic_.symtab = value;
      break;
    case DT_STRTAB:
      dynamic_.strtab = value;
      break;
    case DT_STRSZ:
      dynamic_.strsz = value;
      break;
    case DT_RELA:
      dynamic_.rela = value;
      break;
    case DT_RELASZ:
      dynamic_.relasz = value;
      break;
    case DT_HASH:
      dynamic_.hash = value;
      break;
    case DT_GNU_HASH:
      dynamic_.gnu_hash = value;
      break;
    case DT_RELAENT:
      return must_be(sizeof(Elf64_Rela), "DT_RELAENT");
    case DT_SYMENT:
      return must_be(sizeof(Elf64_Sym), "DT_SYMENT");
    case DT_NEEDED:
    case DT_INIT:
    case DT_FINI:
    case DT_INIT_ARRAY:
    case DT_FINI_ARRAY:
    case DT_REL:
    case DT_RELR:
    case DT_JMPREL:
    case DT_TEXTREL:
      return Bad(Format("dynamic tag 0x%llx is not allowed",
                        static_cast<unsigned long long>(entry.d_tag)));
    default:  // flags and counts that only the system loader uses
      break;
  }
  return OkStatus();
}

Status ElfReader::Relocate() {
  const uint64_t count = dynamic_.relasz / sizeof(Elf64_Rela);
  for (uint64_t i = 0; i < count; ++i) {
    const auto address = CheckedAdd(dynamic_.rela, i * sizeof(Elf64_Rela));
    const auto rela = address ? ImageAt<Elf64_Rela>(*address) : std::nullopt;
    if (!rela) return Bad("relocations pass the image");
    if (ELF64_R_TYPE(rela->r_info) != R_X86_64_RELATIVE)
      return Bad(Format("relocation type %u is not allowed",
                        static_cast<unsigned>(ELF64_R_TYPE(rela->r_info))));
    if (!IsIn(rela->r_offset, sizeof(uint64_t), PF_W))
      return Bad("a relocation writes outside writable segments");
    if (static_cast<uint64_t>(rela->r_addend) > image_->size_)
      return Bad("a relocation points outside the image");
    const uint64_t target =
        reinterpret_cast<uint64_t>(image_->base_) + rela->r_addend;
    std::memcpy(image_->base_ + rela->r_offset, &target, sizeof target);
  }
  return OkStatus();
}

Result<uint64_t> ElfReader::CountSymbols() const {
  if (dynamic_.hash == 0) return CountGnuSymbols();
  // A DT_HASH table starts with its bucket count and its symbol count.
  const auto count = ImageAt<uint32_t>(dynamic_.hash + 4);
  if (dynamic_.hash > image_->size_ || !count)
    return Bad("the hash table passes the image");
  return uint64_t{*count};
}

// A GNU hash table does not store the symbol count: it is one more than the
// index that ends the chain of the highest bucket.
Result<uint64_t> ElfReader::CountGnuSymbols() const {
  if (dynamic_.gnu_hash == 0) return Bad("no hash table");
  if (dynamic_.gnu_hash > image_->size_)
    return Bad("the hash table passes the image");
  const auto word = [&](uint64_t index) {
    return ImageAt<uint32_t>(dynamic_.gnu_hash + 4 * index);
  };
  const auto buckets = word(0), first = word(1), bloom = word(2);
  if (!buckets || !first || !bloom)
    return Bad("the hash table passes the image");
  const uint64_t bucket_0 = 4 + 2ull * *bloom;  // Bloom words have 8 bytes
  uint64_t last = 0;
  for (uint64_t i = 0; i < *buckets; ++i) {
    const auto head = word(bucket_0 + i);
    if (!head) return Bad("the hash table passes the image");
    last = std::max<uint64_t>(last, *head);
  }
  if (last < *first) return uint64_t{*first};  // nothing exported
  for (;; ++last) {
    const auto hash = word(bucket_0 + *buckets + (last - *first));
    if (!hash) return Bad("the hash table passes the image");
    if (*hash & 1) return last + 1;
  }
}

Status ElfReader::ReadSymbols() {
  STELE_ASSIGN_OR_RETURN(const uint64_t count, CountSymbols());
  if (!RangeFits(dynamic_.strtab, dynamic_.strsz, image_->size_))
    return Bad("the string table passes the image");
  for (uint64_t i = 1; i < count; ++i) {
    const auto address = CheckedAdd(dynamic_.symtab, i * sizeof(Elf64_Sym));
    const auto symbol = address ? ImageAt<Elf64_Sym>(*address) : std::nullopt;
    if (!symbol) return Bad("the symbol table passes the image");
    STELE_RETURN_IF_ERROR(AddSymbol(*symbol));
  }
  return OkStatus();
}

Status ElfReader::AddSymbol(const Elf64_Sym& symbol) {
  if (symbol.st_name >= dynamic_.strsz) return Bad("a symbol has no name");
  const char* name = reinterpret_cast<const char*>(
      image_->base_ + dynamic_.strtab + symbol.st_name);
  const size_t room = dynamic_.strsz - symbol.st_name;
  const size_t length = strnlen(name, room);
  if (length == room) return Bad("a symbol's name has no end");
  const std::string text(name, length);
  if (symbol.st_shndx == SHN_UNDEF)
    return Bad("symbol " + Printable(text) + " is undefined");
  if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) return OkStatus();
  if (!IsIn(symbol.st_value, 1, PF_X))
    return Bad("function " + Printable(text) + " lies outside code");
  image_->functions_[text] = image_->base_ + symbol.st_value;
  return OkStatus();
}

Status ElfReader::Protect() {
  // Gaps between segments lose all access.
  bool ok = mprotect(image_->base_, image_->size_, PROT_NONE) == 0;
  for (const Elf64_Phdr& load : loads_) {
    const uint64_t begin = PageDown(load.p_vaddr);
    const uint64_t end = PageUp(load.p_vaddr + load.p_memsz);
    const int access = (load.p_flags & PF_R ? PROT_READ : 0) |
                       (load.p_flags & PF_W ? PROT_WRITE : 0) |
                       (load.p_flags & PF_X ? PROT_EXEC : 0);
    ok &= mprotect(image_->base_ + begin, end - begin, access) == 0;
  }
  if (ok) return OkStatus();
  return Unavailable("the system does not allow to execute mapped kernels");
}

Result<std::unique_ptr<ElfImage>> ElfImage::Load(
    std::span<const uint8_t> bytes) {
  return ElfReader(bytes).Load();
}

ElfImage::~ElfImage() { munmap(base_, size_); }

void* ElfImage::Find(std::string_view symbol) const {
  const auto found = functions_.find(symbol);
  return found == functions_.end() ? nullptr : found->second;
}

}  // namespace stele
