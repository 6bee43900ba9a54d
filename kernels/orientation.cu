// orientation: angles of moments (METHOD.md 3, eqs. 4 and 5) and of gradients (METHOD.md 4, eq. 8).
//
// Formula    moments: theta = atan2(e2, e1) / 2, e1 = (Q20 - Q02) / (Q20 + Q02), e2 = 2 Q11 / (Q20 + Q02);
//            gradients: theta = atan(Dy / Dx). -pi/2 is counted as +pi/2.
// Kernels    orientation_moments, orientation_gradients
// Arguments  moments (n, 3) Q20, Q02, Q11, image unit x pixel^2; dx, dy (n), one unit; theta (n) radians in
//            (-pi/2, pi/2] or NaN; n: how many. All float64.
// Launch     a thread an angle, 256 threads a block: independent and short; 256 fills every card.
// Bytes      moments read 24 and write 8 an angle, gradients 16 and 8; no pixels.
// Precision  float64, no FMA in our own terms; CUDA's atan and atan2 are within 2 units in the last place, hence the
//            clamp to (-pi/2, pi/2].
// Edges      NaN where e1 or e2 is not finite or both are 0 (so for Q20 + Q02 = 0), and where Dx = Dy = 0; empty slots
//            of gradients (NaN) stay NaN. Dx = 0 alone gives pi/2.
// Twin       gpuanom/cpu/orientation.py        Test  tests/steps/test_orientation.py
#include "common.cuh"

constexpr int THREADS = 256;
constexpr double HALF_PI = 1.5707963267948966;

// -pi/2 counted as +pi/2; NaN stays NaN.
__device__ double upper(double theta) { return theta <= -HALF_PI || theta > HALF_PI ? HALF_PI : theta; }

extern "C" __global__ void __launch_bounds__(THREADS)
    orientation_moments(const double* moments, double* theta, long long n) {
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    const double q20 = moments[3 * i], q02 = moments[3 * i + 1], q11 = moments[3 * i + 2];
    const double e1 = (q20 - q02) / (q20 + q02), e2 = 2.0 * q11 / (q20 + q02);
    const bool none = !is_finite(e1) || !is_finite(e2) || (e1 == 0.0 && e2 == 0.0);
    theta[i] = none ? nan("") : upper(0.5 * atan2(e2, e1));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    orientation_gradients(const double* dx, const double* dy, double* theta, long long n) {
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    theta[i] = dx[i] == 0.0 && dy[i] == 0.0 ? nan("") : upper(atan(dy[i] / dx[i]));
}
