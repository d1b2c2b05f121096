// make_toy OUT.stele: the toy artifact for tests that run programs.
#include "toy_artifact.h"

int main(int argc, char **argv) {
  return argc == 2 && stele::test::WriteToyArtifact(argv[1]) ? 0 : 1;
}
