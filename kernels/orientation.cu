// Turns moments and gradients into orientations (METHOD.md 3, eqs. 4 and 5; METHOD.md 4, eq. 8).
//
// Formula    Of moments: theta = atan2(e2, e1) / 2, where e1 = (Q20 - Q02) / (Q20 + Q02) and
//            e2 = 2 Q11 / (Q20 + Q02). Of gradients: theta = atan(Dy / Dx). -pi/2 is counted as
//            +pi/2.
// Precision  float64, no FMA, nothing for -ftz. CUDA's atan and atan2 are right within 2 units in
//            the last place, so the result is clamped to (-pi/2, pi/2].
// Edges      NaN where e1 or e2 is not finite or both are 0 (so also for Q20 + Q02 = 0), and where
//            Dx and Dy are both 0. Dx = 0 alone gives pi/2. Slots without a source or a gradient
//            hold NaN, and keep it.
// Parity     Rounded, 4 units in the last place: atan and atan2 differ between libraries.
// Twin       gpuanom/backends/cpu/orientation.py
// Test       tests/steps/test_orientation.py
#include "common.cuh"

constexpr int THREADS = 256;
constexpr double HALF_PI = 1.5707963267948966;

// Counts -pi/2 as +pi/2; NaN stays NaN.
__device__ double upper(double theta) {
    return theta <= -HALF_PI || theta > HALF_PI ? HALF_PI : theta;
}

// The orientation of the long axis of each source.
//
// Arguments
//   moments    (n, 3) float64, image unit x pixel^2: Q20, Q02, Q11
//   n          int64, number of sources
//   theta      out, (n,) float64, radians
//
// Launch     grid (ceil(n / 256)), block (256). A thread takes an angle: angles are independent
//            and short, and blocks of 256 fill any card.
// Bytes      24 read and 8 written for each angle.
extern "C" __global__ void __launch_bounds__(THREADS)
    orientation_moments(const double* moments, long long n, double* theta) {
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    const double q20 = moments[3 * i], q02 = moments[3 * i + 1], q11 = moments[3 * i + 2];
    const double e1 = (q20 - q02) / (q20 + q02), e2 = 2.0 * q11 / (q20 + q02);
    const bool none = !is_finite(e1) || !is_finite(e2) || (e1 == 0.0 && e2 == 0.0);
    theta[i] = none ? nan("") : upper(0.5 * atan2(e2, e1));
}

// The orientation of each gradient.
//
// Arguments
//   dx       (n,) float64, image unit, or any unit that dy shares
//   dy       (n,) float64, image unit, or any unit that dx shares
//   n        int64, number of gradients
//   theta    out, (n,) float64, radians
//
// Launch     grid (ceil(n / 256)), block (256). A thread takes an angle, as in
//            orientation_moments.
// Bytes      16 read and 8 written for each angle.
extern "C" __global__ void __launch_bounds__(THREADS)
    orientation_gradients(const double* dx, const double* dy, long long n, double* theta) {
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    theta[i] = dx[i] == 0.0 && dy[i] == 0.0 ? nan("") : upper(atan(dy[i] / dx[i]));
}
