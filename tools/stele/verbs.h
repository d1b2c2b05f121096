// The verbs, one cmd_NAME.cpp each; main.cpp lists them.
#ifndef STELE_TOOLS_STELE_VERBS_H_
#define STELE_TOOLS_STELE_VERBS_H_

namespace stele::cli {

int RunBench(int argc, char** argv);
int RunChat(int argc, char** argv);
int RunCompile(int argc, char** argv);
int RunDoctor(int argc, char** argv);
int RunInspect(int argc, char** argv);
int RunPerplexity(int argc, char** argv);
int RunRun(int argc, char** argv);
int RunTokenize(int argc, char** argv);
int RunVerify(int argc, char** argv);

}  // namespace stele::cli

#endif  // STELE_TOOLS_STELE_VERBS_H_
