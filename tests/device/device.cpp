// Two devices that say `cuda`, for CPU builds of torch: torch's own CUDA dispatch key, on host memory.
//
// Every operation is the CPU's kernel. As on GPUs operands on several sides are refused, memory is counted, that of both
// together, and has a limit, and what a host would wait for is told: copies that block, values that are read, sizes that
// only the device knows.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/ops/_local_scalar_dense.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>

extern "C" {  // of the Python that has loaded this
int PyGILState_Ensure();
void PyGILState_Release(int);
int PyRun_SimpleStringFlags(const char*, void*);
}

using at::IntArrayRef;
using at::Tensor;

namespace {

const c10::DeviceIndex DEVICES = 2;
const at::Device DEVICE(at::kCUDA, 0);
const c10::DispatchKeySet KEY(c10::DispatchKey::CUDA);
thread_local c10::DeviceIndex current = 0;

c10::DeviceIndex index_of(std::optional<at::Device> device) { return device && device->has_index() ? device->index() : current; }
c10::Stream stream_of(at::Device device) { return c10::Stream(c10::Stream::DEFAULT, at::Device(at::kCUDA, index_of(device))); }

// ---- what a host waits for
thread_local bool within = false;  // an operation that is counted already
std::atomic<bool> watched{false};

void wait(const std::string& what) {
  if (within || !watched) return;
  const int gil = PyGILState_Ensure();
  PyRun_SimpleStringFlags(("import sys; sys.modules['tests.device.fake'].waited('" + what + "')").c_str(), nullptr);
  PyGILState_Release(gil);
}

struct Within {
  bool before = within;
  Within() { within = true; }
  ~Within() { within = before; }
};

// ---- memory
std::atomic<int64_t> allocated{0}, peak{0}, limit{0};
std::mutex mutex;
std::map<const char*, size_t> pinned;  // where such blocks begin, and their bytes

struct Block {
  void* begin;
  size_t bytes;
};

void* taken(size_t bytes) {
  void* begin = nullptr;
  TORCH_CHECK(!bytes || !posix_memalign(&begin, 512, bytes), "the host has no memory left");
  return begin;
}

struct Memory final : at::Allocator {
  const c10::DeviceIndex index;
  explicit Memory(c10::DeviceIndex index) : index(index) {}
  at::DataPtr allocate(size_t bytes) override {
    TORCH_CHECK_WITH(OutOfMemoryError, !limit || allocated + (int64_t)bytes <= limit, "CUDA out of memory. Tried to allocate ", bytes, " bytes");
    auto* block = new Block{taken(bytes), bytes};
    const int64_t now = allocated += bytes;
    if (now > peak) peak = now;
    return {block->begin, block, [](void* one) {
      auto* block = static_cast<Block*>(one);
      allocated -= block->bytes;
      free(block->begin);
      delete block;
    }, at::Device(at::kCUDA, index)};
  }
  at::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { memcpy(to, from, bytes); }
} memories[DEVICES] = {Memory(0), Memory(1)};

struct CurrentMemory final : at::Allocator {  // what torch asks without saying where
  at::DataPtr allocate(size_t bytes) override { return memories[current].allocate(bytes); }
  at::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { memcpy(to, from, bytes); }
} memory;

struct PinnedMemory final : at::Allocator {
  at::DataPtr allocate(size_t bytes) override {
    void* begin = taken(bytes);
    std::lock_guard<std::mutex> lock(mutex);
    if (bytes) pinned[static_cast<char*>(begin)] = bytes;
    return {begin, begin, [](void* begin) {
      std::lock_guard<std::mutex> lock(mutex);
      pinned.erase(static_cast<char*>(begin));
      free(begin);
    }, at::kCPU};
  }
  at::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { memcpy(to, from, bytes); }
} pinned_memory;

bool is_pinned(const void* at) {
  std::lock_guard<std::mutex> lock(mutex);
  auto after = pinned.upper_bound(static_cast<const char*>(at));
  return after != pinned.begin() && static_cast<const char*>(at) < std::prev(after)->first + std::prev(after)->second;
}

// ---- what torch asks of a CUDA device
struct Generator final : c10::GeneratorImpl {
  at::Generator inner;
  explicit Generator(at::Generator inner = at::detail::createCPUGenerator()) : GeneratorImpl(DEVICE, KEY), inner(inner) {}
  void set_current_seed(uint64_t seed) override { inner.set_current_seed(seed); }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return inner.current_seed(); }
  uint64_t seed() override { return inner.seed(); }
  void set_state(const c10::TensorImpl& state) override { inner.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return inner.unsafeGetGeneratorImpl()->get_state(); }
  GeneratorImpl* clone_impl() const override { return new Generator(inner.clone()); }
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return at::kCUDA; }
  at::Device exchangeDevice(at::Device next) const override {
    const auto before = getDevice();
    current = index_of(next);
    return before;
  }
  at::Device getDevice() const override { return at::Device(at::kCUDA, current); }
  void setDevice(at::Device next) const override { current = index_of(next); }
  void uncheckedSetDevice(at::Device next) const noexcept override { current = index_of(next); }
  c10::Stream getStream(at::Device device) const noexcept override { return stream_of(device); }
  c10::Stream getDefaultStream(at::Device device) const override { return stream_of(device); }
  c10::Stream getStreamFromGlobalPool(at::Device device, bool) const override { return stream_of(device); }
  c10::Stream getNewStream(at::Device device, int) const override { return stream_of(device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override { *event = (void*)1; }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { wait("stream"); }
  void synchronizeEvent(void*) const override { wait("event"); }
  void synchronizeDevice(const c10::DeviceIndex) const override { wait("device"); }
  double elapsedTime(void*, void*, const c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex deviceCount() const noexcept override { return DEVICES; }
};

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static at::Generator own = at::make_generator<Generator>();
    return own;
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::make_generator<Generator>(); }
  at::Device getDeviceFromPtr(void*) const override { return DEVICE; }
  c10::DeviceIndex current_device() const override { return current; }
  c10::DeviceIndex deviceCount() const override { return DEVICES; }
  c10::DeviceIndex getCurrentDevice() const override { return current; }
  void setCurrentDevice(c10::DeviceIndex next) const override { current = next; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex next) const override { return std::exchange(current, next); }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex next) const override { return exchangeDevice(next); }
  int getNumGPUs() const override { return DEVICES; }
  bool isPinnedPtr(const void* at) const override { return is_pinned(at); }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  at::Allocator* getCUDADeviceAllocator() const override { return &memory; }
  void deviceSynchronize(c10::DeviceIndex) const override { wait("device"); }
};

// ---- the few operations that are about memory
Tensor host(const Tensor& one) {  // the same memory as a tensor of the CPU
  return one.is_cuda() ? at::from_blob(one.data_ptr(), one.sizes(), one.strides(), one.options().device(at::kCPU)) : one;
}

Tensor empty(IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memories[index_of(device)], KEY, c10::dtype_or_default(type), format);
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memories[index_of(device)], KEY, c10::dtype_or_default(type));
}

Tensor& copy_(Tensor& to, const Tensor& from, bool non_blocking) {
  if (!to.numel()) return to;
  if (to.is_cuda() && !from.is_cuda()) {
    if (!non_blocking) wait("a copy to the device");
    else if (!is_pinned(from.data_ptr())) wait("a copy to the device, from memory that is not pinned");
  } else if (from.is_cuda() && !to.is_cuda() && !non_blocking) {
    wait("a copy to the host");
  }
  Within held;
  auto own = host(to);
  own.copy_(host(from.is_neg() || from.is_conj() ? from.clone() : from));
  return to;
}

const Tensor& resize_(const Tensor& self, IntArrayRef size, std::optional<at::MemoryFormat> format) {
  auto* own = self.unsafeGetTensorImpl();
  const size_t bytes = (c10::multiply_integers(size) + self.storage_offset()) * self.itemsize(), has = self.storage().nbytes();
  if (bytes > has) {
    auto begin = memories[self.device().index()].allocate(bytes);
    if (has) memcpy(begin.get(), self.storage().data(), has);
    self.storage().set_data_ptr_noswap(std::move(begin));
    self.storage().set_nbytes(bytes);
  }
  own->set_sizes_contiguous(size);
  if (format && *format != at::MemoryFormat::Preserve) own->empty_tensor_restride(*format);
  return self;
}

Tensor& set_part(Tensor& self, at::Storage storage, int64_t offset, IntArrayRef size, IntArrayRef stride) {
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
  const auto dense = c10::contiguous_strides(size);
  self.unsafeGetTensorImpl()->set_sizes_and_strides(size, stride.empty() ? IntArrayRef(dense) : stride, offset);
  return self;
}

// A GPU's kernel counts whole numbers, the CPU's none.
Tensor histc(const Tensor& self, int64_t bins, const at::Scalar& least, const at::Scalar& most) {
  Within held;
  const auto found = at::histc(host(self).to(at::kFloat), bins, least, most);
  return at::empty(found.sizes(), self.options()).copy_(found);
}

Tensor& set_whole(Tensor& self, at::Storage storage) { return set_part(self, storage, 0, {(int64_t)(storage.nbytes() / self.itemsize())}, {}); }
Tensor& set_tensor(Tensor& self, const Tensor& other) { return set_part(self, other.storage(), other.storage_offset(), other.sizes(), other.strides()); }
Tensor& set_nothing(Tensor& self) { return set_tensor(self, at::empty({0}, self.options())); }

// ---- all others: the CPU's kernels
const std::set<std::string> SIZES = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount"};
const std::set<std::string> READS = {"equal", "is_nonzero", "_grouped_mm"};  // the last as on a GPU before Hopper
const std::set<std::string> CPU_INDICES = {"index", "index_put_", "_index_put_impl_", "index_put"};

void on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto name = schema.name().substr(schema.name().find("::") + 2);
  bool there = false, by_mask = false;
  std::set<c10::DeviceIndex> here;
  auto see = [&](const Tensor& one) {
    if (one.defined() && one.is_cuda()) here.insert(one.device().index());
    else if (one.defined()) there |= one.dim() > 0;
  };
  for (size_t i = stack->size() - schema.arguments().size(); i < stack->size(); i++) {
    auto& value = (*stack)[i];
    if (value.isTensor()) see(value.toTensor());
    else if (value.isTensorList()) for (const auto& one : value.toTensorVector()) see(one);
    else if (value.isGenerator()) {
      const auto generator = value.toGenerator();
      TORCH_CHECK(generator.device().is_cuda(), "Expected a 'cuda' device type for generator but found 'cpu'");
      value = c10::IValue(static_cast<Generator*>(generator.unsafeGetGeneratorImpl())->inner);
    } else if (value.isList()) for (const c10::IValue one : value.toList()) if (one.isTensor() && one.toTensor().defined()) {
      see(one.toTensor());
      by_mask |= one.toTensor().scalar_type() == at::kBool;
    }
  }
  TORCH_CHECK(here.size() < 2, "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cuda:1! (", schema.name(), ")");
  if (here.size() && there) {
    TORCH_CHECK(CPU_INDICES.count(name), "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! (", schema.name(), ")");
    wait("indices that lie on the host");
  }
  if (SIZES.count(name) || by_mask) wait("a size: " + name);
  if (READS.count(name) || (name == "segment_reduce" && !stack->at(stack->size() - 2).toBool())) wait("a value: " + name);
  if (name == "repeat_interleave" && stack->back().isNone()) wait("a size: " + name);
  Within held;
  at::native::cpu_fallback(op, stack);
}

int64_t math(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, double, bool, std::optional<double>, bool) { return (int64_t)at::SDPBackend::math; }

}  // namespace

namespace at {
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, Hooks)
}
namespace at::native { REGISTER_CUDA_DISPATCH(_fused_sdp_choice_stub, &math) }

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_host>()); }
TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("copy_", copy_);
  m.impl("_copy_from", [](const Tensor& from, const Tensor& to, bool non_blocking) { auto own = to; return copy_(own, from, non_blocking); });
  m.impl("_copy_from_and_resize", [](const Tensor& from, const Tensor& to) {
    auto own = to;
    if (to.sizes() != from.sizes()) resize_(to, from.sizes(), std::nullopt);
    return copy_(own, from, false);
  });
  m.impl("_local_scalar_dense", [](const Tensor& one) { wait("a value"); return at::_local_scalar_dense(host(one)); });
  m.impl("resize_", resize_);
  m.impl("histc", histc);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
  m.impl("set_.source_Storage_storage_offset", set_part);
  m.impl("set_.source_Storage", set_whole);
  m.impl("set_.source_Tensor", set_tensor);
  m.impl("set_", set_nothing);
  for (const char* name : {"convolution", "convolution_backward"}) m.impl(name, torch::CppFunction::makeFromBoxedFunction<&on_host>());
}
TORCH_LIBRARY(fakecuda, m) {
  m.def("watch(bool on) -> ()", [](bool on) { watched = on; });
  m.def("limit(int bytes) -> ()", [](int64_t bytes) { limit = bytes; });
  m.def("allocated() -> int", []() -> int64_t { return allocated; });
  m.def("peak() -> int", []() -> int64_t { return peak; });
  m.def("forget_peak() -> ()", []() { peak = allocated.load(); });
}
static const bool begun = (c10::SetAllocator(at::kCUDA, &memory, 10), true);
