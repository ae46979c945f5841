# CMake toolchain: Debian's powerpc64 (big-endian, ELFv1) cross compiler, and qemu-user to run what it builds.
# cmake -S host -B build/powerpc64-unknown-linux-gnu -DCMAKE_TOOLCHAIN_FILE=ci/cmake/powerpc64-linux-gnu.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ppc64)

set(CMAKE_C_COMPILER powerpc64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER powerpc64-linux-gnu-g++)

# ctest starts tests through this. HARDSWITCH_PPC64_RUNNER replaces it, a semicolon between words: ci/cell970, say.
if(DEFINED ENV{HARDSWITCH_PPC64_RUNNER})
    set(CMAKE_CROSSCOMPILING_EMULATOR $ENV{HARDSWITCH_PPC64_RUNNER})
else()
    set(CMAKE_CROSSCOMPILING_EMULATOR qemu-ppc64 -L /usr/powerpc64-linux-gnu)
endif()

# Libraries only from the target's own tree; headers and CMake packages also from the machine's, for what has no
# architecture (doctest).
set(CMAKE_FIND_ROOT_PATH /usr/powerpc64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)
