// Linked into every sanitized program that uses LLVM. LLVM's headers poison the
// memory of their arenas when compiled with AddressSanitizer, but the library,
// compiled without, does not unpoison it: every attribute it makes would be
// reported.
extern "C" const char *__asan_default_options();
extern "C" const char *__asan_default_options() {
  return "allow_user_poisoning=0";
}
